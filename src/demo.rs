//! The guided tour: a throwaway cluster with a sample billing database, the proxy in front, and statements that show what it does.
