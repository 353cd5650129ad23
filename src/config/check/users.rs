//! Users: how each logs in, how the proxy logs in for them, and their pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tenancy::auth;
use super::{Checker, Place, Server, entries, names_of, only_local};
use crate::config::problem::{any_of, quoted};
use crate::config::raw::{RawAdmin, RawConfig, RawPool, RawUser};
use crate::config::read::{Field, Named};
use crate::config::value::{EnvName, FilePath, Verifier, valid_password, verifier_form};
use crate::config::{Database, PoolSettings, Role, Secret, TenantsOf, User, UserSecret};

/// Fewest iterations that PostgreSQL itself uses (RFC 7677 asks for at least as many).
const ITERATIONS_USUAL: u32 = 4096;

impl Checker<'_> {
    pub(super) fn users(
        &mut self,
        raw: &RawConfig,
        server: &Server,
        roles: &BTreeMap<Arc<str>, Arc<Role>>,
    ) -> BTreeMap<Arc<str>, Arc<User>> {
        if raw.users.is_absent() || raw.users.value().is_some_and(|users| users.0.is_empty()) {
            let place = Place::root().child("users", None);
            self.problem(&place, None, "a user", "write [users.NAME] with a verifier; make one with: pgwarden passwd");
        }
        let defaults = RawPool::default();
        let pool = raw.pool.value().unwrap_or(&defaults);
        self.pool(pool, pool, raw.pool.place().unwrap_or(&Place::root()));
        let mut users = BTreeMap::new();
        let mut inline_secret = None;
        for (name, user, place) in entries(&raw.users) {
            let secret = self.secret(name, user, place, server);
            self.certificate_login(raw, user);
            let databases = self.databases_of(name, user, raw);
            let only_console = !databases.is_empty() && databases.iter().all(|database| *database == console(raw));
            let server_password = self.server_password(user, secret.as_ref());
            let (tenants, role) = self.tenants_of(user, raw, roles);
            let of_tenant = tenants != TenantsOf::None;
            if of_tenant {
                self.no_role_of_its_own(user);
            }
            if server_password.is_none() && !of_tenant && needs_server_password(user, secret.as_ref()) && !only_console
            {
                let expected = "a password for the server: a verifier cannot log in there";
                let hint = "write server_password_file, unless the server asks for none (certificate, peer, trust)";
                self.warn(place, None, expected, hint);
            }
            let own_pool = user.pool.value().unwrap_or(&defaults);
            let settings = self.pool(own_pool, pool, user.pool.place().unwrap_or(place));
            let inline = user.password.place().or(user.server_password.place());
            inline_secret = inline_secret.or(inline);
            let resolved = User {
                name: name.clone(),
                secret,
                cert_cn: user.cert_cn.value().map(|name| name.0.clone()),
                databases,
                tenants,
                role,
                server_user: user.server_user.value().map_or_else(|| name.clone(), |name| name.0.clone()),
                server_password,
                server_auth: auth(&user.server_auth()),
                pool: settings,
                clients_max: user.clients_max.value().map_or(server.clients_max, |max| max.get()),
                session_state: user.session_state(),
                valid_until: user.valid_until.value().map(|moment| moment.0),
            };
            users.insert(name.clone(), Arc::new(resolved));
        }
        if let Some(place) = inline_secret {
            self.warn_if_exposed(self.file, place);
        }
        users
    }

    /// How the user logs in: exactly one way, or a certificate alone.
    fn secret(&mut self, name: &str, user: &RawUser, place: &Place, server: &Server) -> Option<UserSecret> {
        let ways: [(&str, Option<&Place>); 7] = [
            ("password", user.password.place()),
            ("password_file", user.password_file.place()),
            ("password_env", user.password_env.place()),
            ("verifier", user.verifier.place()),
            ("verifier_file", user.verifier_file.place()),
            ("verifier_env", user.verifier_env.place()),
            ("danger_trust", user.danger_trust.place().filter(|_| user.danger_trust())),
        ];
        let given: Vec<(&str, &Place)> = ways.iter().filter_map(|(key, place)| Some((*key, (*place)?))).collect();
        match given.as_slice() {
            [] if !user.cert_cn.is_absent() => return None,
            [] => {
                let hint = format!("make a verifier with: pgwarden passwd --user {name}");
                self.problem(place, None, "a way to log in: a verifier, a password or cert_cn", &hint);
                return None;
            }
            [_] => {}
            [_, (second, place), ..] => {
                let keys: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
                let hint = format!("keep one of {}", any_of(&keys));
                self.problem(place, Some(second), "one way to log in", &hint);
                return None;
            }
        }
        if let Some((password, place)) = user.password.found() {
            let hint = format!("make a verifier with: pgwarden passwd --user {name}");
            self.warn(place, Some("a plain password"), "a verifier: who reads it cannot log in with it", &hint);
            return Some(UserSecret::Plain(password.clone()));
        }
        if user.danger_trust() {
            return self.trust(user, server);
        }
        if let Some((verifier, place)) = user.verifier.found() {
            self.warn_if_weak(verifier.0.expose(), place);
            return Some(UserSecret::Verifier(verifier.0.clone()));
        }
        if user.verifier_file.is_absent() && user.verifier_env.is_absent() {
            return self.password_from(&user.password_file, &user.password_env).map(UserSecret::Plain);
        }
        self.verifier_from(&user.verifier_file, &user.verifier_env).map(|verifier| UserSecret::Verifier(verifier.0))
    }

    fn trust(&mut self, user: &RawUser, server: &Server) -> Option<UserSecret> {
        let place = user.danger_trust.place()?;
        if !only_local(&server.listen) {
            let far = server.listen.iter().find(|address| !address.ip().is_loopback());
            let found = far.map(|address| format!("true, and listen has {}", quoted(&address.to_string())));
            let hint = "give the user a verifier, or listen on 127.0.0.1 only";
            self.problem(place, found.as_deref(), "false, unless all of server.listen are loopback addresses", hint);
            return None;
        }
        self.warn(place, Some("true"), "false: everybody on this machine can be this user", "give the user a verifier");
        Some(UserSecret::Trust)
    }

    /// A tenant's user works as the tenancy's role on the server.
    fn no_role_of_its_own(&mut self, user: &RawUser) {
        let given = [
            ("server_user", user.server_user.place()),
            ("server_password", user.server_password.place()),
            ("server_password_file", user.server_password_file.place()),
            ("server_password_env", user.server_password_env.place()),
            ("pool", user.pool.place()),
        ];
        for (key, place) in given {
            let Some(place) = place else { continue };
            let hint = "remove it here, and write it in [databases.NAME.tenancy] or the tenant's table";
            self.problem(place, Some(key), "this key only for users without a tenant", hint);
        }
    }

    fn certificate_login(&mut self, raw: &RawConfig, user: &RawUser) {
        let Some((name, place)) = user.cert_cn.found() else { return };
        let has_roots = match &raw.tls {
            Field::Found(tls, _) => !tls.client_ca.is_absent(),
            Field::Bad(_) => true,
            Field::Absent => false,
        };
        if !has_roots {
            let hint = r#"write client_ca = "/etc/pgwarden/clients.crt" in [tls]"#;
            self.problem(place, Some(&quoted(&name.0)), "client_ca in [tls], which vouches for the certificate", hint);
        }
    }

    /// The console's own database may be named too, by those who may open it: with it alone, a user has nothing else.
    fn databases_of(&mut self, name: &str, user: &RawUser, raw: &RawConfig) -> Vec<Arc<str>> {
        let known = names_of(&raw.databases);
        let databases = user.databases();
        for (i, database) in databases.iter().enumerate() {
            let place = user.databases.place().cloned().unwrap_or_else(Place::root).item_of_same_line(i);
            if database.0 != console(raw) {
                self.reference(&database.0, &known, &place, "a database of this file", "databases");
            } else if !opens_console(raw, name) {
                let hint = format!("add {} to admins or viewers of [admin], or remove it here", quoted(name));
                self.problem(&place, Some(&quoted(&database.0)), "the console only for its admins and viewers", &hint);
            }
        }
        databases.into_iter().map(|database| database.0).collect()
    }

    fn server_password(&mut self, user: &RawUser, secret: Option<&UserSecret>) -> Option<Secret> {
        let (own, file, env) = (&user.server_password, &user.server_password_file, &user.server_password_env);
        let none_given = own.is_absent() && file.is_absent() && env.is_absent();
        match secret {
            Some(UserSecret::Plain(password)) if none_given => Some(password.clone()),
            Some(UserSecret::Plain(_) | UserSecret::Verifier(_) | UserSecret::Trust) | None => {
                self.one_password(own, file, env, false)
            }
        }
    }

    /// A password from a file or the environment; whichever is given.
    pub(super) fn password_from(&mut self, file: &Field<FilePath>, env: &Field<EnvName>) -> Option<Secret> {
        let (text, place) = self.secret_text(file, env)?;
        if !valid_password(&text) {
            self.problem(
                &place,
                Some("other text (not shown)"),
                "a password of 1 to 1000 bytes",
                "put the password there, and nothing else",
            );
            return None;
        }
        Some(Secret::new(text))
    }

    fn verifier_from(&mut self, file: &Field<FilePath>, env: &Field<EnvName>) -> Option<Verifier> {
        let (text, place) = self.secret_text(file, env)?;
        if let Err(why) = verifier_form(&text) {
            let expected = "a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid";
            self.problem(&place, Some("other text (not shown)"), expected, why);
            return None;
        }
        self.warn_if_weak(&text, &place);
        Some(Verifier(Secret::new(text)))
    }

    fn secret_text(&mut self, file: &Field<FilePath>, env: &Field<EnvName>) -> Option<(String, Place)> {
        if let Some((path, place)) = file.found() {
            let path = self.resolve(path);
            return self.secret_file(&path, place).map(|text| (text, place.clone()));
        }
        let (name, place) = env.found()?;
        let Some(text) = (self.env)(&name.0) else {
            let hint = format!("set {} for the process that runs pgwarden", name.0);
            self.problem(place, Some(&quoted(&name.0)), "an environment variable that is set, to UTF-8 text", &hint);
            return None;
        };
        Some((text, place.clone()))
    }

    fn warn_if_weak(&mut self, verifier: &str, place: &Place) {
        let iterations = verifier.split(['$', ':']).nth(1).and_then(|n| n.parse::<u32>().ok());
        if let Some(n) = iterations.filter(|n| *n < ITERATIONS_USUAL) {
            let hint = "make a new one with: pgwarden passwd";
            self.warn(place, Some(&format!("{n} iterations")), "4096 iterations or more", hint);
        }
    }

    /// A pool's settings: the user's own, then those of `[pool]`, then the defaults.
    pub(super) fn pool(&mut self, own: &RawPool, shared: &RawPool, place: &Place) -> PoolSettings {
        macro_rules! setting {
            ($key:ident) => {
                if own.$key.is_absent() { shared.$key() } else { own.$key() }
            };
        }
        let settings = PoolSettings {
            mode: setting!(mode),
            size: setting!(size).get(),
            size_min: setting!(size_min).get(),
            server_idle_timeout: setting!(server_idle_timeout).0,
            server_lifetime: setting!(server_lifetime).0,
            prepared_max: setting!(prepared_max).get(),
            login_retry_min: setting!(login_retry_min).0,
            login_retry_max: setting!(login_retry_max).0,
        };
        let is_defaults = std::ptr::eq(own, shared);
        let touches = |fields: [bool; 2]| is_defaults || fields.iter().any(|absent| !absent);
        if settings.size_min > settings.size && touches([own.size.is_absent(), own.size_min.is_absent()]) {
            let place = own.size_min.place().or(own.size.place()).unwrap_or(place);
            let hint = "lower size_min or raise size";
            let expected = format!("size_min no larger than size, {}", settings.size);
            self.problem(place, Some(&settings.size_min.to_string()), &expected, hint);
        }
        let retries = [own.login_retry_min.is_absent(), own.login_retry_max.is_absent()];
        if settings.login_retry_min > settings.login_retry_max && touches(retries) {
            let place = own.login_retry_min.place().or(own.login_retry_max.place()).unwrap_or(place);
            let hint = "lower login_retry_min or raise login_retry_max";
            self.problem(place, None, "login_retry_min no longer than login_retry_max", hint);
        }
        settings
    }

    /// What pools promise against what their databases allow, and users that share a pool but not its settings.
    pub(super) fn pools_against_databases(
        &mut self,
        raw: &RawConfig,
        users: &BTreeMap<Arc<str>, Arc<User>>,
        databases: &BTreeMap<Arc<str>, Arc<Database>>,
    ) {
        for database in databases.values() {
            let may_open = |user: &&Arc<User>| user.databases.is_empty() || user.databases.contains(&database.name);
            let mut roles: BTreeMap<&str, &Arc<User>> = BTreeMap::new();
            for user in users.values().filter(may_open).filter(|user| user.tenants == TenantsOf::None) {
                let Some(first) = roles.get(user.server_user.as_ref()) else {
                    roles.insert(&user.server_user, user);
                    continue;
                };
                if (first.pool.size, first.pool.size_min) != (user.pool.size, user.pool.size_min) {
                    let place = place_of(&raw.users, &user.name);
                    let found =
                        format!("size {} here and {} in [users.{}]", user.pool.size, first.pool.size, first.name);
                    let hint = "write the same size and size_min for both";
                    let expected =
                        format!("one size for the pool that both share as role {}", quoted(&user.server_user));
                    self.warn(&place, Some(&found), &expected, hint);
                }
            }
            let kept: usize = roles.values().map(|user| user.pool.size_min).sum();
            let largest = roles.values().map(|user| user.pool.size).max().unwrap_or(0);
            let place = place_of(&raw.databases, &database.name);
            let place = place.child("connections_max", place.line);
            let limit = database.connections_max.to_string();
            if kept > database.connections_max {
                let expected = format!("at least {kept}, the sum of size_min of the pools here");
                self.problem(&place, Some(&limit), &expected, "raise connections_max or lower size_min");
            } else if largest > database.connections_max {
                let expected = format!("at least {largest}, the size of the largest pool here");
                self.warn(&place, Some(&limit), &expected, "raise connections_max or lower the pool's size");
            }
        }
    }
}

fn place_of<T>(field: &Field<Named<T>>, name: &str) -> Place {
    let entry = entries(field).iter().find(|(known, ..)| known.as_ref() == name);
    entry.map_or_else(Place::root, |(.., place)| place.clone())
}

/// The console's database.
fn console(raw: &RawConfig) -> Arc<str> {
    raw.admin.value().unwrap_or(&RawAdmin::default()).database().0
}

fn opens_console(raw: &RawConfig, name: &str) -> bool {
    let Some(admin) = raw.admin.value() else { return false };
    admin.admins().iter().chain(&admin.viewers()).any(|known| *known.0 == *name)
}

/// A user with a verifier has no password that would do for the server, and has named none.
fn needs_server_password(user: &RawUser, secret: Option<&UserSecret>) -> bool {
    let named = [user.server_password.place(), user.server_password_file.place(), user.server_password_env.place()];
    matches!(secret, Some(UserSecret::Verifier(_))) && named.iter().all(Option::is_none)
}
