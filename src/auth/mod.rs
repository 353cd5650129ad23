//! From an accepted socket to an authenticated user: encryption request, startup packet, password or certificate.
//!
//! What a client says about itself decides nothing here but which secret it must prove. The result is a [`LoggedIn`], which
//! only this module can build.
