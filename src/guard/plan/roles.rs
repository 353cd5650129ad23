//! The two roles: the one that all tenants share, and the owner of the schema `pgwarden`.

use super::{Change, Planner, Statement, Undo};
use crate::guard::catalog::{Membership, Role};
use crate::guard::client::GuardError;
use crate::guard::quote::{ident, literal};
use crate::guard::seal;

/// What a role that tenants share must not be.
const ATTRIBUTES: &str = "NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION NOINHERIT";

impl Planner<'_> {
    pub(super) fn roles(&mut self) -> Result<(), GuardError> {
        let snapshot = self.snapshot;
        let user = self.wall.user().to_owned();
        if user == seal::OWNER {
            return Err(GuardError::Unfit(format!("{user} owns what seals the tenants and cannot be their role")));
        }
        let missing = snapshot.owner.is_none() || snapshot.role.is_none();
        if missing && !snapshot.server.creates_roles {
            let who = &snapshot.server.current_user;
            return Err(GuardError::Unfit(format!(
                "{who} may not create roles: run as a superuser or a role with CREATEROLE"
            )));
        }
        if snapshot.owner.is_none() {
            let sql = create_role(
                seal::OWNER,
                "NOLOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION",
            );
            self.change("the role that owns the schema pgwarden; nobody logs in as it", sql, drop_role(seal::OWNER));
        } else if snapshot.owner.as_ref().is_some_and(|owner| owner.login) {
            let (sql, undo) =
                (format!("ALTER ROLE {} NOLOGIN", seal::OWNER), format!("ALTER ROLE {} LOGIN", seal::OWNER));
            self.change("nobody logs in as the owner of the schema pgwarden", sql, undo);
        }
        match &snapshot.role {
            None => self.create_user(&user),
            Some(role) => self.confine(role),
        }
        Ok(())
    }

    fn create_user(&mut self, user: &str) {
        let options = format!("LOGIN {ATTRIBUTES}");
        let plain = create_role(user, &options);
        let statement = match &self.options.verifier {
            None => Statement::Plain(plain),
            Some(verifier) => Statement::Secret {
                sql: create_role(user, &format!("{options} PASSWORD {}", literal(verifier))),
                shown: format!("{plain};\n-- its password is not shown: \\password {}", ident(user)),
            },
        };
        self.plan.changes.push(Change {
            what: format!("{user}: the role that all tenants share"),
            sql: vec![statement],
            undo: vec![Undo { relation: None, sql: drop_role(user) }],
            as_owner: false,
        });
    }

    /// Takes away what lets a role around row security.
    fn confine(&mut self, role: &Role) {
        let user = ident(&role.name);
        let attributes = [
            (role.superuser, "SUPERUSER"),
            (role.bypass, "BYPASSRLS"),
            (role.create_role, "CREATEROLE"),
            (role.create_database, "CREATEDB"),
            (role.replication, "REPLICATION"),
            (role.inherit, "INHERIT"),
            (!role.login, "NOLOGIN"),
        ];
        let held: Vec<&str> = attributes.iter().filter(|(held, _)| *held).map(|(_, name)| *name).collect();
        if !held.is_empty() {
            let opposite = |name: &&str| name.strip_prefix("NO").map_or_else(|| format!("NO{name}"), str::to_owned);
            let without: Vec<String> = held.iter().map(opposite).collect();
            let what = format!("{}: not {}", role.name, held.join(", "));
            self.change(
                what,
                format!("ALTER ROLE {user} {}", without.join(" ")),
                format!("ALTER ROLE {user} {}", held.join(" ")),
            );
        }
        for membership in &role.memberships {
            let version = self.snapshot.server.version;
            let granted_by =
                if version >= 160_000 { format!(" GRANTED BY {}", ident(&membership.grantor)) } else { String::new() };
            let sql = format!("REVOKE {} FROM {user}{granted_by}", ident(&membership.role));
            let undo = format!("GRANT {} TO {user}{}", ident(&membership.role), membership_options(membership));
            self.change(format!("{}: not a member of {}", role.name, membership.role), sql, undo);
        }
        for owned in &self.snapshot.owned {
            let why =
                format!("is owned by {}, who can take its protection away: ALTER ... OWNER TO another role", role.name);
            self.leave(owned.detail.clone(), why);
        }
    }
}

fn membership_options(membership: &Membership) -> String {
    let mut options = Vec::new();
    if membership.admin {
        options.push("ADMIN OPTION".to_owned());
    }
    if let (Some(inherit), Some(set)) = (membership.inherit, membership.set) {
        options = vec![format!("ADMIN {}, INHERIT {inherit}, SET {set}", membership.admin)];
    }
    if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) }
}

/// Roles are of the whole cluster: another database's `protect` may have made it meanwhile.
fn create_role(name: &str, options: &str) -> String {
    let create = format!("CREATE ROLE {} {options}", ident(name));
    format!(
        "DO $pgwarden$ BEGIN {create}; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN RAISE NOTICE 'the role is there already'; END $pgwarden$"
    )
}

/// Stays where another database still uses it.
fn drop_role(name: &str) -> String {
    let role = ident(name);
    format!(
        "DO $pgwarden$ BEGIN DROP ROLE IF EXISTS {role}; \
         EXCEPTION WHEN dependent_objects_still_exist THEN RAISE NOTICE 'the role is still in use elsewhere'; END $pgwarden$"
    )
}
