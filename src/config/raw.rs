//! The file's tables and keys as the operator types them. These comments are the reference: `docs/config.md` is made of them.
//!
//! A type says what one value may be; whatever depends on more than one value is in `check`.

use std::net::SocketAddr;

use super::read::{Named, section};
use super::value::{Column, Origin};
use super::value::{ContextWord, IsolationWord, KeyText, RewriteWord};
use super::value::{EnvName, FilePath, Host, Moment, Name, Size, Span, SpanOrZero, Verifier, WeakAuth, Whole};
use super::{
    BaseRole, ClientTlsMode, CopyTo, Durability, LogFormat, LogLevel, OnFailure, PoolMode, Secret, ServerTlsMode,
    SessionState, Shipped, SinkTo, TlsVersion, Values,
};
use crate::tenant::KeyType;

section! {
    /// The whole file.
    struct RawConfig {
        server: RawServer,
        tls: RawTls,
        admin: RawAdmin,
        log: RawLog,
        audit: RawAudit,
        pool: RawPool,
        shards: Named<RawShard>,
        databases: Named<RawDatabase>,
        tenants: Named<RawTenant>,
        roles: Named<RawRole>,
        users: Named<RawUser>,
    }
}

section! {
    /// pgwarden's own sockets, workers and limits.
    struct RawServer {
        /// TCP addresses to listen on for clients. Port 0 takes a free one. An empty list leaves only the Unix socket.
        /// A change needs a restart.
        listen: Vec<SocketAddr> = r#"["127.0.0.1:6432"]"#,
        /// Directory of a Unix socket for clients, `.s.PGSQL.<port>` as PostgreSQL names it. Absent: no Unix socket.
        /// A change needs a restart.
        unix_socket_dir: FilePath,
        /// The port number in the Unix socket's name where `listen` is empty; otherwise the first address's port is in it.
        /// A change needs a restart.
        unix_socket_port: Whole<1, 65535> = "6432",
        /// Worker threads. Each has its own listeners and its share of clients and server connections.
        /// Absent: one for each CPU core that the process may use. A change needs a restart.
        workers: Whole<1, 256>,
        /// Client connections in all; more are refused with SQLSTATE 53300. Each takes a file descriptor.
        clients_max: Whole<1, 1_000_000> = "10000",
        /// Time that a client has from connecting to the end of its login.
        login_timeout: Span = r#""15s""#,
        /// Failed logins from one client address within `login_timeout`; more are refused until some have passed.
        login_failures_max: Whole<1, 10_000> = "20",
        /// Longest wait of a client for a server connection; then its statement fails with SQLSTATE 53300.
        queue_timeout: Span = r#""30s""#,
        /// Clients that may wait for the connections of one pool; more fail at once with SQLSTATE 53300.
        queue_max: Whole<0, 1_000_000> = "5000",
        /// A client that sends nothing for so long, outside a transaction, is disconnected. `"0s"`: never.
        client_idle_timeout: SpanOrZero = r#""0s""#,
        /// A client that keeps a transaction open for so long without sending anything is disconnected, and the
        /// transaction rolled back. `"0s"`: never.
        idle_in_transaction_timeout: SpanOrZero = r#""0s""#,
        /// A statement that runs for longer is cancelled with SQLSTATE 57014. `"0s"`: never.
        query_timeout: SpanOrZero = r#""0s""#,
        /// On SIGTERM, the time that open transactions have to end before they are cut. Keep it below the patience of
        /// whatever stops the process (30 s in Kubernetes).
        drain_timeout: SpanOrZero = r#""25s""#,
        /// The largest message that a client may send, such as a row of COPY or a Bind with its values.
        message_size_max: Size<16, 1_047_552> = r#""64MiB""#,
        /// The longest text of one statement.
        statement_size_max: Size<1, 65_536> = r#""256KiB""#,
        /// Bytes kept for a slow peer, for each connection and direction, before reading from the other side stops.
        buffer_size_max: Size<8, 1_048_576> = r#""256KiB""#,
        /// TCP keepalive on connections of clients and servers.
        keepalive: RawKeepalive,
        /// Cancel requests under way at once; more wait their turn. A change needs a restart.
        cancels_max: Whole<1, 10_000> = "64",
    }
}

section! {
    /// TCP keepalive: `keepalive = { idle = "60s", interval = "10s", retries = 5 }`.
    struct RawKeepalive {
        /// Silence before the first probe. `"0s"`: the system's value.
        idle: SpanOrZero = r#""60s""#,
        /// Time between probes. `"0s"`: the system's value.
        interval: SpanOrZero = r#""10s""#,
        /// Probes without an answer before the connection counts as dead. 0: the system's value.
        retries: Whole<0, 127> = "5",
    }
}

section! {
    /// TLS towards clients. Without this table clients connect without TLS.
    struct RawTls {
        /// `"require"`: TCP connections without TLS are refused. `"allow"`: they are taken too. `"verify-client"`: as
        /// `"require"`, and the client must show a certificate that `client_ca` vouches for. Unix sockets never need TLS.
        mode: ClientTlsMode = r#""require""#,
        /// Certificate chain in PEM, the server's own certificate first. Required.
        cert: FilePath,
        /// Private key of the certificate in PEM. Required.
        key: FilePath,
        /// Certificates in PEM that client certificates must chain to. Absent: no client certificates are asked for.
        client_ca: FilePath,
        /// The first part of the server name that a client asks for (`acme` of `acme.db.example.com`) names the tenant, unless
        /// the login name does. It counts only where the user may work as that tenant.
        server_name_tenant: bool = "false",
        /// Lowest TLS version.
        version_min: TlsVersion = r#""1.2""#,
    }
}

section! {
    /// The console (`psql -d pgwarden`) and the HTTP endpoint.
    struct RawAdmin {
        /// Name of the database that opens the console.
        database: Name = r#""pgwarden""#,
        /// Users who may change things on the console: RELOAD, PAUSE, RESUME, KILL.
        admins: Vec<Name> = "[]",
        /// Users who may only look.
        viewers: Vec<Name> = "[]",
        /// Address of `/metrics`, `/healthz`, `/readyz` and the status page. No password is asked there, so keep it on a
        /// private network. Absent: none. A change needs a restart.
        http: SocketAddr,
    }
}

section! {
    /// The log, on standard error. A change needs a restart.
    struct RawLog {
        /// How much is logged.
        level: LogLevel = r#""info""#,
        /// `"json"`: one JSON object a line. `"pretty"`: for people. `"auto"`: pretty on a terminal, JSON otherwise.
        format: LogFormat = r#""auto""#,
        /// Log each login of a client.
        connections: bool = "true",
        /// Log each client's end, with its reason.
        disconnections: bool = "true",
    }
}

section! {
    /// The audit stream: a record of everything that clients do, in files that prove to be whole. Without this table nothing
    /// is recorded. A change needs a restart.
    struct RawAudit {
        /// Directory of the log, for it alone. Made where its parent exists. Required.
        directory: FilePath,
        /// Name of the log in its checkpoints. Absent: the key's name.
        origin: Origin,
        /// What a record has survived before the client hears that its statement ended. `"strict"`: it is on disk.
        /// `"group"`: it is with the log's writer, which hands it to the operating system within a few milliseconds and to
        /// the disk within `checkpoint_interval`; a crash of the process may cost the former, of the machine the latter.
        /// `"relaxed"`: the same, with twenty milliseconds.
        durability: Durability = r#""group""#,
        /// While the log cannot be written, statements wait (`"block"`) or fail with SQLSTATE 53100 (`"refuse"`). None is
        /// executed unrecorded.
        on_failure: OnFailure = r#""block""#,
        /// File of the key that signs checkpoints; `pgwarden audit keygen` makes one. Required.
        key_file: FilePath,
        /// File of the key that takes over: the log records the change, and both keys sign it. Later put it in `key_file`'s
        /// place.
        next_key_file: FilePath,
        /// A file of records ends when it has so many bytes.
        segment_size: Size<64, 4_194_304> = r#""256MiB""#,
        /// A file of records ends when so old. `"0s"`: never for its age.
        segment_age: SpanOrZero = r#""1d""#,
        /// Files of records are deleted when they ended so long ago. `"0s"`: never for their age.
        retention_age: SpanOrZero = r#""0s""#,
        /// The oldest files of records are deleted while all have more bytes. Absent: never for their size.
        retention_size: Size<128, 1_073_741_824>,
        /// What has to be true before a file of records is deleted. `"marker"`: the file `shipped` in the directory holds a
        /// higher sequence number: the first that is not safe elsewhere yet. `"unneeded"`: nothing.
        shipped: Shipped = r#""marker""#,
        /// A checkpoint is signed when records have waited so long for one.
        checkpoint_interval: Span = r#""1s""#,
        /// A checkpoint is signed when so many records wait for one.
        checkpoint_records: Whole<1, 1_000_000_000> = "50000",
        /// Where checkpoints are sent besides, so that not even the owner of this machine can rewrite the past: a directory
        /// (`"/mnt/elsewhere"`), an endpoint that takes POST (`"https://example.com/checkpoints"`), a syslog daemon
        /// (`"syslog:/dev/log"` or, over UDP, `"syslog:10.0.0.5:514"`).
        checkpoint_copies: Vec<CopyTo> = "[]",
        /// Receivers that get every record, in order and at least once, by the protocol in `docs/audit.md`:
        /// `"tls:collector.example.com:6514"`, whose certificate is verified, `"tcp:10.0.0.5:6514"` in a private network,
        /// `"unix:/run/collector.sock"`. What one of them has not acknowledged is not deleted, whatever `shipped` says.
        sinks: Vec<SinkTo> = "[]",
        /// Certificates in PEM that those with TLS must chain to. Absent: the public authorities.
        sinks_ca: FilePath,
        /// Records that may wait for the disk, in bytes. When full, statements wait or fail as `on_failure` says.
        queue_size: Size<64, 1_048_576> = r#""8MiB""#,
        /// What records say of parameters: `"omit"` nothing but their types, `"hash"` a keyed hash, `"clear"` the value
        /// (passwords and card numbers never).
        parameters: Values = r#""omit""#,
        /// Columns whose values are left out in spite of `parameters`: `"public.invoices.note"`.
        columns_omit: Vec<Column> = "[]",
        /// Columns whose values are hashed in spite of `parameters`.
        columns_hash: Vec<Column> = "[]",
        /// Columns whose values are shown in spite of `parameters`.
        columns_clear: Vec<Column> = "[]",
        /// File of the key of the hashes: 64 hexadecimal digits. Required where anything is hashed.
        hash_key_file: FilePath,
        /// Directory of the tenants' keys, which `pgwarden audit tenant-key` makes: under its tenant's key the text of a
        /// statement is kept, literals and all, but never passwords, verifiers and card numbers. Without a key of its own
        /// nothing of a tenant's texts is kept; without its key nobody reads them any more. Absent: none are kept.
        raw_text_keys: FilePath,
    }
}

section! {
    /// Defaults for the pools of all users; `[users.NAME.pool]` takes the same keys and overrides them one by one. A pool
    /// holds the connections of one server role to one database of one server.
    struct RawPool {
        /// When a server connection goes back to the pool. `"transaction"`: when the transaction ends. `"session"`: when the
        /// client disconnects.
        mode: PoolMode = r#""transaction""#,
        /// Server connections at most, over all workers.
        size: Whole<1, 10_000> = "16",
        /// Server connections kept open while nobody needs them.
        size_min: Whole<0, 10_000> = "0",
        /// A server connection is closed once idle for so long. `"0s"`: never.
        server_idle_timeout: SpanOrZero = r#""10min""#,
        /// A server connection is closed, once free, when so old (less up to a tenth, so that not all go at once). `"0s"`:
        /// never.
        server_lifetime: SpanOrZero = r#""1h""#,
        /// Prepared statements kept on each server connection. 0 turns their reuse off; they still work.
        prepared_max: Whole<0, 100_000> = "256",
        /// First pause after a failed login to the server; it doubles with each failure.
        login_retry_min: Span = r#""250ms""#,
        /// Longest pause between logins to the server.
        login_retry_max: Span = r#""10s""#,
    }
}

section! {
    /// A PostgreSQL server by a name of your choice. This version serves exactly one shard.
    struct RawShard {
        /// The server that takes all statements. Required.
        primary: RawNode,
    }
}

section! {
    /// One PostgreSQL server: `primary = { host = "db.internal", tls = "verify-full" }`.
    struct RawNode {
        /// Host name or IP address. This or `socket_dir` is required.
        host: Host,
        /// Directory of the server's Unix socket, in place of `host`.
        socket_dir: FilePath,
        /// Port, also in the Unix socket's name.
        port: Whole<1, 65535> = "5432",
        /// `"prefer"`: TLS where the server offers it, without verifying it. `"require"`: TLS or nothing, without verifying
        /// it. `"verify-full"`: TLS, with the certificate's chain and host name verified. `"disable"`: no TLS. Not used on
        /// Unix sockets.
        tls: ServerTlsMode = r#""prefer""#,
        /// Certificates in PEM that the server's certificate must chain to. Absent: the roots that Mozilla trusts. Read only
        /// with `"verify-full"`.
        tls_ca: FilePath,
        /// Client certificate in PEM to show to the server.
        tls_cert: FilePath,
        /// Private key of `tls_cert` in PEM.
        tls_key: FilePath,
        /// Time to connect and log in.
        connect_timeout: Span = r#""5s""#,
    }
}

section! {
    /// A database by the name that clients ask for.
    struct RawDatabase {
        /// The shard it is on. Absent: the only shard.
        shard: Name,
        /// Its name on the server. Absent: the same name.
        server_database: Name,
        /// Server connections to it in all, over all users and workers. Keep the sum below the server's `max_connections`.
        connections_max: Whole<1, 100_000> = "80",
        /// How its tenants are kept apart. Absent: it has none, and every user sees what the server lets its role see.
        tenancy: RawTenancy,
    }
}

section! {
    /// How a database keeps its tenants apart: `[databases.NAME.tenancy]`.
    struct RawTenancy {
        /// `"row"`: shared tables with a tenant column, under row security. `"schema"`: a schema and a server role for each
        /// tenant. `"database"`: a database and a server role for each tenant.
        isolation: IsolationWord = r#""row""#,
        /// What tells the server whose rows a session may see (row isolation). `"sealed"`: state that nobody but pgwarden
        /// can set. `"setting"`: a plain setting, for databases whose policies read one; only as strong as pgwarden's
        /// reading of every statement.
        context: ContextWord = r#""sealed""#,
        /// The setting's name, such as `"app.tenant_id"`. Required with `context = "setting"`.
        setting: Name,
        /// Name of the tenant column (row isolation).
        column: Name = r#""tenant_id""#,
        /// Type of the tenant column (row isolation).
        key_type: KeyType = r#""bigint""#,
        /// Schemas in which tenants may name relations; also the `search_path` of their sessions (row isolation).
        schemas: Vec<Name> = r#"["public"]"#,
        /// Role on the server that all tenants share (row isolation, required there).
        server_user: Name,
        /// Password of that role on the server.
        server_password: Secret,
        /// File that holds it; one newline at its end is dropped.
        server_password_file: FilePath,
        /// Environment variable that holds it.
        server_password_env: EnvName,
        /// Weaker methods that pgwarden may answer when the server asks for them: `"md5"`, `"cleartext"`. SCRAM always works.
        server_auth: Vec<WeakAuth> = "[]",
        /// File of the keys that seal the context, a line each: `epoch:` and 64 hexadecimal digits. The first is in use;
        /// the others are still valid in the database. Required with `context = "sealed"`.
        keys_file: FilePath,
        /// Functions of the database's own that tenants may call, such as `"public.add_tax"`.
        functions: Vec<Name> = "[]",
        /// Which statements get the tenant's predicate and column added (row isolation). `"off"`: none; the database's row
        /// security does all. `"tables"`: those that name one of `rewrite_tables`. `"all"`: all.
        rewrite: RewriteWord = r#""off""#,
        /// See `rewrite`.
        rewrite_tables: Vec<Name> = "[]",
        /// Serve tenants although `pgwarden doctor` finds holes in the database's wall.
        danger_open_wall: bool = "false",
        /// Let every statement through, whatever roles allow: only the database's wall is left. For tests of that wall.
        danger_open_policy: bool = "false",
        /// Further tenants and users, kept in the database itself.
        directory: RawDirectory,
        /// What differs from `[pool]` for the pools of its tenants.
        pool: RawPool,
    }
}

section! {
    /// The tables `pgwarden.tenants` and `pgwarden.users` of the database are read at start and followed.
    struct RawDirectory {
        /// Role on the server that may read them, and nothing else. Required.
        server_user: Name,
        /// Password of that role.
        server_password: Secret,
        /// File that holds it; one newline at its end is dropped.
        server_password_file: FilePath,
        /// Environment variable that holds it.
        server_password_env: EnvName,
        /// Weaker methods that pgwarden may answer when the server asks for them: `"md5"`, `"cleartext"`. SCRAM always works.
        server_auth: Vec<WeakAuth> = "[]",
    }
}

section! {
    /// A tenant by a name of your choice.
    struct RawTenant {
        /// The database it is in; that has a `tenancy`. Absent: the only one with tenants.
        database: Name,
        /// Value of the tenant column in its rows (row isolation, required there): `"42"`, a UUID or a text.
        key: KeyText,
        /// Its schema (schema isolation). Absent: the tenant's name.
        schema: Name,
        /// Its database on the server (database isolation). Absent: the tenant's name.
        server_database: Name,
        /// Its role on the server (schema and database isolation). Absent: the tenant's name.
        server_user: Name,
        /// Password of that role.
        server_password: Secret,
        /// File that holds it; one newline at its end is dropped.
        server_password_file: FilePath,
        /// Environment variable that holds it.
        server_password_env: EnvName,
        /// Weaker methods that pgwarden may answer when the server asks for them: `"md5"`, `"cleartext"`. SCRAM always works.
        server_auth: Vec<WeakAuth> = "[]",
        /// `false`: its users cannot log in, and their sessions end.
        enabled: bool = "true",
        /// What it may use at once, over all its users.
        limits: RawLimits,
    }
}

section! {
    /// Limits of a tenant: `limits = { transactions = 10, statement_time = "30s" }`. An absent one does not limit.
    struct RawLimits {
        /// Client connections; more are refused with SQLSTATE 53300.
        connections: Whole<1, 1_000_000>,
        /// Transactions at once, which is server connections; more wait in the queue.
        transactions: Whole<1, 100_000>,
        /// Statements a second, with bursts of as many; more fail with SQLSTATE 53400.
        statements_per_second: Whole<1, 10_000_000>,
        /// A statement that runs for longer is cancelled with SQLSTATE 57014.
        statement_time: Span,
        /// A transaction that lasts longer is rolled back, and its session ends, with SQLSTATE 25P03.
        transaction_time: Span,
        /// A session that is silent for longer inside a transaction ends with SQLSTATE 25P03.
        idle_in_transaction_time: Span,
        /// Rows of one statement's result; it is cancelled at more, with SQLSTATE 53400.
        rows: Whole<1, 4_000_000_000>,
        /// Bytes of one statement's result; it is cancelled at more, with SQLSTATE 53400.
        bytes: Size<1, 1_073_741_824>,
    }
}

section! {
    /// A role by a name of your choice, made from a built-in one: `reader`, `writer`, `owner`, `operator`.
    struct RawRole {
        /// The role that it begins as.
        base: BaseRole = r#""reader""#,
        /// Kinds of statements that it may run beyond those of `base`.
        allow: Vec<Name> = "[]",
        /// Kinds of statements of `base` that it may not run.
        deny: Vec<Name> = "[]",
        /// Relations that it may name. Absent: all.
        tables: Vec<Name>,
        /// Functions of the database's own that it may call, beyond those of the tenancy.
        functions: Vec<Name> = "[]",
    }
}

section! {
    /// A user by the name that clients log in with. Exactly one of `password`, `password_file`, `password_env`, `verifier`,
    /// `verifier_file`, `verifier_env` and `danger_trust` says how the user logs in, or `cert_cn` alone.
    struct RawUser {
        /// The password itself. A verifier is better: it cannot be used to log in.
        password: Secret,
        /// File that holds the password; one newline at its end is dropped.
        password_file: FilePath,
        /// Environment variable that holds the password.
        password_env: EnvName,
        /// SCRAM verifier as in `pg_authid`; `pgwarden passwd` makes one.
        verifier: Verifier,
        /// File that holds the verifier; one newline at its end is dropped.
        verifier_file: FilePath,
        /// Environment variable that holds the verifier.
        verifier_env: EnvName,
        /// Let the user in without a password. Possible only while pgwarden listens on nothing but loopback addresses and Unix
        /// sockets.
        danger_trust: bool = "false",
        /// Common name of a client certificate that logs the user in without a password. Needs `client_ca` in `[tls]`.
        cert_cn: Name,
        /// Databases that the user may open. Absent or empty: all.
        databases: Vec<Name> = "[]",
        /// The tenant that the user belongs to, and works as.
        tenant: Name,
        /// Tenants that an operator may work as, one at a time: the login name is `USER@TENANT`.
        tenants: Vec<Name>,
        /// An operator of all tenants.
        all_tenants: bool = "false",
        /// What the user may do in a database with tenants: `"reader"`, `"writer"`, `"owner"`, `"operator"` or one of
        /// `[roles]`. Absent: `"writer"` with `tenant`, `"operator"` otherwise.
        role: Name,
        /// Role on the server. Absent: the same name.
        server_user: Name,
        /// Password of the role on the server. Absent: the user's own, where it is given as a password and not as a verifier.
        server_password: Secret,
        /// File that holds the role's password; one newline at its end is dropped.
        server_password_file: FilePath,
        /// Environment variable that holds the role's password.
        server_password_env: EnvName,
        /// Weaker methods that pgwarden may answer when the server asks for them: `"md5"`, `"cleartext"`. SCRAM always works.
        server_auth: Vec<WeakAuth> = "[]",
        /// Client connections of this user; more are refused with SQLSTATE 53300. Absent: `clients_max` of `[server]`.
        clients_max: Whole<1, 1_000_000>,
        /// What becomes of state that cannot follow a session from one server connection to the next (temporary objects,
        /// LISTEN, session advisory locks, cursors WITH HOLD). `"pin"`: the session keeps its server connection for as long.
        /// `"refuse"`: the statement is refused.
        session_state: SessionState = r#""pin""#,
        /// Logins are refused from this moment on: a date and time with its offset. Absent: never.
        valid_until: Moment,
        /// What differs from `[pool]` for this user.
        pool: RawPool,
    }
}
