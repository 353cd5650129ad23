#!/usr/bin/env python3
"""Writes src/sql/functions_table.rs: PostgreSQL's own functions, each with its class.

Usage: scripts/sql_functions.py > src/sql/functions_table.rs
It asks the server that psql reaches by its usual environment (PGHOST, PGPORT ...); use PostgreSQL 15.

A name has one class, that of its most dangerous overload. What is not named below is internal where it takes or gives types
that only the server's own code has, and harmless otherwise: a pure function, or one that reads the catalog. Names that only
other versions have are listed by hand.
"""
import re
import subprocess

CLASSES = {
    "Context": r"set_config",
    # State of the session that is neither a setting nor anything below.
    "Session": r"setseed|pg_replication_origin_session_\w+|pg_(start|stop)_backup|pg_backup_(start|stop)"
    r"|pg_(create|copy)_(physical|logical)_replication_slot|binary_upgrade_.*",
    "RunsSql": r"query_to_xml.*|table_to_xml.*|schema_to_xml.*|database_to_xml.*|cursor_to_xml.*|ts_stat|ts_rewrite"
    r"|crosstab\w*|connectby|xpath_table",
    "File": r"pg_read_(binary_)?file\w*|pg_ls_\w+|pg_stat_file|pg_file_\w+|lo_import|lo_export|pg_current_logfile|pg_hba_file_rules"
    r"|get_raw_page|pg_ident_file_mappings|pg_show_all_file_settings|pg_logdir_ls|pg_(relation_filepath|tablespace_location)",
    "Network": r"dblink\w*|postgres_fdw_\w+",
    "Admin": r"pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile\w*|pg_switch_wal|pg_create_restore_point"
    r"|pg_promote|pg_wal_replay_(pause|resume)|pg_drop_replication_slot|pg_replication_slot_advance|pg_sync_replication_slots"
    r"|pg_logical_(slot|emit)\w+|pg_replication_origin_\w+|pg_stat_reset\w*|pg_is_wal_replay_paused|pg_control_\w+|pg_config"
    r"|pg_log_backend_memory_contexts|pg_export_snapshot|pg_log_standby_snapshot|pg_import_system_collations"
    r"|pg_extension_config_dump|pg_nextoid|pg_stop_making_pinned_objects|gin_clean_pending_list|brin_(de)?summarize\w+"
    r"|pg_stat_statements_reset|pg_prewarm|pg_(restore|clear)_\w+_stats|pg_get_(shmem_allocations|backend_memory_contexts)\w*",
    # Other sessions, their statements and locks, what a session before left, and how much everybody writes.
    "Activity": r"pg_stat_\w+|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_prepared_(xact|statement)|pg_cursor"
    r"|pg_isolation_test_session_is_blocked|pg_listening_channels|pg_notification_queue_usage|pg_sequence_last_value|inet_server_\w+"
    r"|pg_(current|last)_wal_\w+|pg_last_(committed_xact|xact_replay_timestamp)|pg_get_wal_\w+|pg_available_wal_summaries"
    r"|pg_wal_summary_contents|pg_xact_(status|commit_timestamp\w*)|txid_status|pg_get_multixact_\w+|pg_get_replication_slots"
    r"|pg_show_replication_origin_status|pg_tablespace_databases|pg_get_aios|pg_numa_\w+|pg_shmem_\w+|pg_mcv_list_items"
    r"|pgrowlocks|pgstat\w+|pg_relpages|pg_freespace|pg_visibility\w*|pg_check_(frozen|visible)|pg_buffercache_\w+",
    # Look an object up by a name that they repeat in their error: a way to read a value that a filter would have hidden.
    "Lookup": r"has_\w+_privilege|pg_has_role|row_security_active|currtid2|pg_get_object_address",
    "AdvisoryLock": r"pg_(try_)?advisory_(xact_)?(un)?lock(_shared|_all)?",
    "Sequence": r"nextval|setval|currval|lastval",
    "LargeObject": r"lo_\w+|loread|lowrite|be_lo\w+",
    "Notify": r"pg_notify",
}

# Harmless functions that PostgreSQL 16 to 18 added.
NEWER = """any_value array_sample array_shuffle array_reverse array_sort uuidv4 uuidv7 uuid_extract_timestamp uuid_extract_version
random_normal erf erfc gamma lgamma crc32 crc32c casefold to_bin to_oct pg_input_is_valid pg_input_error_info date_add
date_subtract unicode_version icu_unicode_version unicode_assigned pg_basetype to_regtypemod to_timestamp pg_get_acl
pg_char_to_encoding pg_get_partition_constraintdef system_user""".split()

# Not harmless, and not in PostgreSQL 15's own catalog: other versions, and extensions of the distribution. Each may be called
# with one argument, as far as is known here, so `x.f` calls it too.
ELSEWHERE = """pg_start_backup pg_stop_backup pg_rotate_logfile_v2 pg_file_write pg_file_rename pg_file_unlink pg_file_sync
pg_logdir_ls pg_sync_replication_slots pg_log_standby_snapshot dblink dblink_connect dblink_connect_u dblink_disconnect
dblink_exec dblink_open dblink_fetch dblink_close dblink_send_query dblink_get_result dblink_get_notify dblink_cancel_query
dblink_build_sql_insert dblink_build_sql_update dblink_build_sql_delete dblink_current_query dblink_error_message
dblink_get_connections dblink_get_pkey dblink_is_busy postgres_fdw_disconnect postgres_fdw_disconnect_all
get_raw_page pgrowlocks pgstattuple pgstattuple_approx pgstatindex pgstatginindex pgstathashindex pg_relpages pg_freespace
pg_visibility pg_visibility_map pg_visibility_map_summary pg_check_frozen pg_check_visible pg_buffercache_pages
crosstab crosstab2 crosstab3 crosstab4 connectby xpath_table pg_stat_statements_reset pg_prewarm pg_restore_relation_stats
pg_clear_relation_stats pg_restore_attribute_stats pg_clear_attribute_stats has_largeobject_privilege pg_get_wal_summarizer_state
pg_available_wal_summaries pg_wal_summary_contents pg_get_multixact_stats pg_get_aios pg_numa_available pg_stat_get_io
pg_stat_get_backend_io pg_stat_get_backend_wal""".split()

# They name a relation, sequence, type or function by text, though no argument has a reg type.
NAMING = re.compile(
    r"to_reg(?!typemod)\w+|has_\w+_privilege|pg_has_role|row_security_active|pg_get_serial_sequence|pg_relation_\w+|query_to_xml\w*|\w+_to_xml\w*"
    r"|ts_stat|ts_rewrite|pg_get_object_address|currtid2"
)

QUERY = """
select p.proname,
       bool_or(exists (select from unnest(p.proargtypes::oid[]) a
                       where a in (select oid from pg_type where typname ~ '^_?reg(class|proc|procedure|oper|operator|type|role|namespace|collation)$'))),
       bool_or(p.pronargs = 1 or p.pronargs - p.pronargdefaults <= 1 and p.pronargs > 0),
       bool_and(p.prorettype in (select oid from pg_type where typname = any (%i))
                or exists (select from unnest(p.proargtypes::oid[]) a where a in ('internal'::regtype, 'cstring'::regtype)))
from pg_proc p where p.pronamespace = %s::regnamespace group by 1 order by 1
"""


# Types of functions that the server calls by itself.
INTERNAL = "{cstring,internal,trigger,event_trigger,language_handler,fdw_handler,index_am_handler,table_am_handler,tsm_handler}"


def ask(schema):
    sql = QUERY.replace("%s", f"'{schema}'").replace("%i", f"'{INTERNAL}'")
    out = subprocess.run(["psql", "-XAtqF,", "-c", sql], check=True, capture_output=True, text=True).stdout
    return [line.split(",") for line in out.splitlines()]


def class_of(name, internal=False):
    for label, pattern in CLASSES.items():
        if re.fullmatch(pattern, name):
            return label
    return "Internal" if internal or re.fullmatch(r"\w+_validator", name) else "Harmless"


def row(name, naming, unary, internal):
    facts = [fact for fact, holds in (("NAMES", naming), ("UNARY", unary)) if holds]
    return f"(\"{name}\", {class_of(name, internal)}, {' | '.join(facts) or '0'})"


builtin = {
    name: (naming == "t" or bool(NAMING.fullmatch(name)), unary == "t", internal == "t")
    for name, naming, unary, internal in ask("pg_catalog")
}
for name in NEWER:
    builtin.setdefault(name, (False, False, False))
for name in ELSEWHERE:
    builtin.setdefault(name, (bool(NAMING.fullmatch(name)), True, False))
schema = [name for name, _, _, _ in ask("information_schema")]
for name in NEWER:
    assert class_of(name) == "Harmless", name
for name in ELSEWHERE:
    assert class_of(name) != "Harmless", name

print("""//! PostgreSQL's own functions and their classes. Made by `scripts/sql_functions.py` from a PostgreSQL 15 server.

use super::Class::{self, *};
use super::{NAMES, UNARY};

/// Functions of `pg_catalog`, sorted by name.""")
print(f"#[rustfmt::skip]\npub(super) static BUILTIN: [(&str, Class, u8); {len(builtin)}] = [")
for name in sorted(builtin, key=lambda n: n.encode()):
    print(f"    {row(name, *builtin[name])},")
print("];\n\n/// Functions of `information_schema`, sorted by name; all are harmless.")
print(f"#[rustfmt::skip]\npub(super) static INFORMATION_SCHEMA: [&str; {len(schema)}] = [")
for name in sorted(schema):
    print(f'    "{name}",')
print("];")
