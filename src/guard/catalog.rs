//! What a database's catalog says, as one snapshot: everything that the plan and the checks decide on.
//!
//! Readable by any role. Privileges are those that the shared role has in effect, by itself, by PUBLIC or by membership;
//! while the role does not exist they are PUBLIC's.

use serde::Deserialize;

use super::client::{Client, GuardError};
use super::queries;
use crate::config::{Isolation, Tenancy};
use crate::tenant::{self, RelationKind};

/// The snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub server: Server,
    /// The shared role; absent: there is none of this name.
    pub role: Option<Role>,
    /// The role that owns what is ours.
    pub owner: Option<Role>,
    /// Everything with rows outside the system's schemas, by schema and name.
    pub relations: Vec<Relation>,
    pub policies: Vec<Policy>,
    pub foreign_keys: Vec<ForeignKey>,
    pub uniques: Vec<Unique>,
    /// View to relation that it reads, by oid.
    pub reads: Vec<Edge>,
    pub functions: Vec<Function>,
    pub schemas: Vec<Schema>,
    /// Built-in functions and views that reach over tenants and that the role may use.
    pub shared: Vec<SharedFacility>,
    pub default_grants: Vec<DefaultGrant>,
    pub rules: Vec<Named>,
    pub foreign_servers: Vec<Named>,
    pub publications: Vec<Named>,
    /// Objects that the shared role owns, in this database or cluster-wide.
    pub owned: Vec<Named>,
    /// Parameters that the role may set although ordinary roles may not.
    pub parameters: Vec<Named>,
    /// `ALTER ROLE ... SET` and `ALTER DATABASE ... SET` that apply to the role.
    pub role_settings: Vec<Named>,
    /// Functions that policies call and that are not PostgreSQL's own.
    pub policy_functions: Vec<PolicyFunction>,
    pub sealed: Sealed,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// `server_version_num`.
    pub version: u32,
    /// `server_version`.
    pub version_name: String,
    pub database: String,
    pub database_owner: String,
    /// Who asks.
    pub current_user: String,
    pub is_superuser: bool,
    /// Who asks may create roles.
    pub creates_roles: bool,
    pub in_recovery: bool,
    pub prepared_max: i64,
    pub lo_compat: bool,
    /// Bytes of the list of large objects; 0: there are none.
    pub large_objects: i64,
    /// The role may create temporary objects, or schemas.
    pub temp: bool,
    pub create: bool,
    /// PUBLIC may.
    pub public_temp: bool,
    pub public_create: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Role {
    pub oid: u32,
    pub name: String,
    pub superuser: bool,
    pub bypass: bool,
    pub create_role: bool,
    pub create_database: bool,
    pub replication: bool,
    pub inherit: bool,
    pub login: bool,
    pub memberships: Vec<Membership>,
    /// Roles that may become this one, superusers apart.
    pub members: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Membership {
    pub role: String,
    pub grantor: String,
    pub admin: bool,
    /// PostgreSQL 16 and later.
    pub inherit: Option<bool>,
    pub set: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// `pg_class.relkind`.
    pub kind: char,
    pub is_partition: bool,
    pub owner: String,
    pub owner_is_superuser: bool,
    /// Who asks may alter it.
    pub mine: bool,
    pub of_extension: bool,
    pub row_security: bool,
    pub forced: bool,
    pub security_invoker: bool,
    pub columns: Vec<Column>,
    /// In effect, for the whole relation.
    pub privileges: Vec<String>,
    /// In effect, for at least one column.
    pub column_privileges: Vec<String>,
    /// What was granted to the role itself or to PUBLIC.
    pub grants: Vec<Grant>,
    /// First columns of the valid, unconditional indexes.
    pub index_heads: Vec<String>,
    /// Sequences: the relation and column that own it.
    pub of_relation: Option<u32>,
    /// Sequences: owned by an identity column.
    pub of_identity: bool,
    /// Sequences that defaults of columns take numbers from.
    pub default_sequences: Vec<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    pub name: String,
    /// As `format_type` prints it.
    pub type_name: String,
    /// The type under all domains.
    pub base_type: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub generated: bool,
    pub identity: bool,
    /// False: equal texts may differ in their bytes.
    pub deterministic: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Grant {
    /// Empty: PUBLIC.
    pub grantee: String,
    pub privilege: String,
    pub column: Option<String>,
    pub grantable: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Policy {
    pub relation: u32,
    pub name: String,
    pub permissive: bool,
    /// `r`, `a`, `w`, `d` or `*`.
    pub command: char,
    /// Names; empty: PUBLIC.
    pub roles: Vec<String>,
    /// Holds for the shared role.
    pub applies: bool,
    pub using: Option<String>,
    pub check: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    pub relation: u32,
    pub columns: Vec<String>,
    pub target: u32,
    pub target_columns: Vec<String>,
    /// Deleting or updating the target changes the referring rows.
    pub cascades: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Unique {
    pub relation: u32,
    pub index: String,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Edge {
    pub view: u32,
    pub relation: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    /// As GRANT names it.
    pub signature: String,
    pub schema: String,
    pub name: String,
    pub owner: String,
    pub mine: bool,
    pub definer: bool,
    /// The shared role has EXECUTE.
    pub executable: bool,
    /// The shared role has USAGE of its schema.
    pub nameable: bool,
    pub of_extension: bool,
    pub is_trigger: bool,
    /// PUBLIC and the role itself, where EXECUTE was given to them.
    pub grantees: Vec<String>,
    pub procedure: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Schema {
    pub name: String,
    pub mine: bool,
    pub usage: bool,
    pub create: bool,
    /// PUBLIC and the role itself, where CREATE was given to them.
    pub creators: Vec<String>,
}

/// A built-in function or view that shows or touches other sessions.
#[derive(Debug, Clone, Deserialize)]
pub struct SharedFacility {
    pub family: String,
    /// As REVOKE names it, with FUNCTION or TABLE before it.
    pub object: String,
    pub owner: String,
    pub mine: bool,
    pub to_public: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct DefaultGrant {
    /// Whose new objects.
    pub creator: String,
    pub schema: Option<String>,
    /// `TABLES`, `SEQUENCES`, `FUNCTIONS` ...
    pub kind: String,
    pub grantee: String,
    pub privileges: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Named {
    pub name: String,
    pub detail: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct PolicyFunction {
    pub relation: u32,
    pub policy: String,
    pub function: String,
    pub volatility: char,
}

/// What is there of the sealed context.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Owner of the schema; absent: no schema.
    pub schema_owner: Option<String>,
    pub functions: Vec<SealedFunction>,
    pub relations: Vec<SealedRelation>,
    /// Epochs and fingerprints of the keys, where the table can be read.
    pub epochs: Option<Vec<Epoch>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct SealedFunction {
    pub name: String,
    pub arguments: String,
    pub returns: String,
    pub owner: String,
    pub language: String,
    pub volatility: char,
    pub parallel: char,
    pub strict: bool,
    pub definer: bool,
    pub config: Vec<String>,
    pub body: String,
    pub executable: bool,
    pub by_public: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct SealedRelation {
    pub name: String,
    pub kind: char,
    pub owner: String,
    pub unlogged: bool,
    /// The shared role's, columns included.
    pub privileges: Vec<String>,
    /// Sequences: as `format_type` prints it, and the least value.
    pub sequence_min: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Epoch {
    pub epoch: u32,
    pub fingerprint: String,
}

impl Snapshot {
    /// Reads the catalog, as one snapshot of the server.
    pub async fn read(client: &mut Client, server_user: &str) -> Result<Self, GuardError> {
        client.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let snapshot = Self::read_in_transaction(client, server_user).await;
        client.run("ROLLBACK").await?;
        snapshot
    }

    /// As [`Snapshot::read`], in the transaction that is open.
    pub async fn read_in_transaction(client: &mut Client, server_user: &str) -> Result<Self, GuardError> {
        let version: u32 = {
            let rows = client.run("SELECT current_setting('server_version_num')").await?;
            rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).unwrap_or(0)
        };
        let role = client.read::<Role>(&queries::role(server_user, version)).await?.into_iter().next();
        let owner = client.read::<Role>(&queries::role(super::seal::OWNER, version)).await?.into_iter().next();
        // 0 stands for PUBLIC alone.
        let oid = role.as_ref().map_or(0, |role| role.oid);
        let has_epochs = client.run(queries::READS_EPOCHS).await?;
        let epochs = match has_epochs.first().and_then(|row| row.first()?.as_deref()) {
            Some("t") => Some(client.read(queries::EPOCHS).await?),
            Some(_) | None => None,
        };
        let schema_owner = client.run(queries::SCHEMA_OWNER).await?.into_iter().next();
        let sealed = Sealed {
            schema_owner: schema_owner.and_then(|row| row.into_iter().next().flatten()),
            functions: client.read(&queries::sealed_functions(oid)).await?,
            relations: client.read(&queries::sealed_relations(oid)).await?,
            epochs,
        };
        Ok(Self {
            server: client.read_one(&queries::server(oid)).await?,
            relations: client.read(&queries::relations(oid, version)).await?,
            policies: client.read(&queries::policies(oid)).await?,
            foreign_keys: client.read(queries::FOREIGN_KEYS).await?,
            uniques: client.read(queries::UNIQUES).await?,
            reads: client.read(queries::VIEW_EDGES).await?,
            functions: client.read(&queries::functions(oid)).await?,
            schemas: client.read(&queries::schemas(oid)).await?,
            shared: client.read(&queries::shared(oid)).await?,
            default_grants: client.read(&queries::default_grants(oid)).await?,
            rules: client.read(queries::RULES).await?,
            foreign_servers: client.read(&queries::foreign_servers(oid)).await?,
            publications: client.read(queries::PUBLICATIONS).await?,
            owned: client.read(&queries::owned(oid)).await?,
            parameters: if version >= 150_000 { client.read(&queries::parameters(oid)).await? } else { Vec::new() },
            role_settings: client.read(&queries::role_settings(oid)).await?,
            policy_functions: client.read(queries::POLICY_FUNCTIONS).await?,
            role,
            owner,
            sealed,
        })
    }

    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    /// Whether a view reads one of these relations, through other views or not.
    pub fn view_reads(&self, view: u32, wanted: &dyn Fn(u32) -> bool) -> bool {
        let mut seen = vec![view];
        let mut at = 0;
        while let Some(&current) = seen.get(at) {
            at += 1;
            for edge in self.reads.iter().filter(|edge| edge.view == current) {
                if wanted(edge.relation) {
                    return true;
                }
                if !seen.contains(&edge.relation) {
                    seen.push(edge.relation);
                }
            }
        }
        false
    }
}

impl Relation {
    pub fn is_table(&self) -> bool {
        matches!(self.kind, 'r' | 'p')
    }

    pub fn is_view(&self) -> bool {
        self.kind == 'v'
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// In SQL, quoted.
    pub fn sql(&self) -> String {
        super::quote::relation(&self.schema, &self.name)
    }

    /// For people.
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub fn may(&self, privilege: &str) -> bool {
        let has = |privileges: &[String]| privileges.iter().any(|held| held == privilege);
        has(&self.privileges) || has(&self.column_privileges)
    }

    /// The role can do something with its rows.
    pub fn reachable(&self) -> bool {
        !self.privileges.is_empty() || !self.column_privileges.is_empty()
    }
}

/// The part of the snapshot that verdicts and rewriting need: the relations of the shared schemas and of those that the
/// role may use.
pub fn catalog(snapshot: &Snapshot, tenancy: &Tenancy) -> tenant::Catalog {
    let column = match &tenancy.isolation {
        Isolation::Row(row) => Some(&*row.column),
        Isolation::Schema | Isolation::Database => None,
    };
    let relations = snapshot.relations.iter().filter_map(|relation| {
        let kind = match relation.kind {
            'r' | 'p' if relation.is_partition => RelationKind::Partition,
            'r' => RelationKind::Table,
            'p' => RelationKind::Partitioned,
            'v' => RelationKind::View,
            'm' => RelationKind::MaterializedView,
            'f' => RelationKind::ForeignTable,
            'S' => RelationKind::Sequence,
            _ => return None,
        };
        let columns = relation.columns.iter().map(|column| tenant::Column {
            name: column.name.as_str().into(),
            type_name: column.type_name.as_str().into(),
            generated: column.generated,
        });
        Some(tenant::Relation {
            schema: relation.schema.as_str().into(),
            name: relation.name.as_str().into(),
            kind,
            columns: columns.collect(),
            tenant_column: column.and_then(|name| relation.columns.iter().position(|column| column.name == name)),
            row_security: relation.row_security,
        })
    });
    tenant::Catalog::new(tenancy.schemas.clone(), relations)
}
