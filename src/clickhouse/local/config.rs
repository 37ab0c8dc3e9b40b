//! The configuration that the local server is given: generated anew at every start.
//!
//! ```text
//! DATA_DIR/clickhouse/config/config.xml      ports, paths, limits, durability
//!                           /users.xml       the user `default`
//!                           /start.sql       what the library is to run first
//!                           /users.d/*.xml   the roles, and example users that hold them
//! ```
//! Both engines merge `users.d` into `users.xml` by themselves. The folder is private to the user,
//! and written only by who holds the data folder's lock.

use std::{
    fmt::Write as _,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::ports::Ports;

/// Example users for trying the roles out: no password, loopback only.
const EXAMPLE_USERS: [(&str, &str); 5] = [
    ("analyst", "assent_analyst"),
    ("ml_first_party", "assent_ml_first_party"),
    ("ml_affiliates", "assent_ml_affiliates"),
    ("privacy", "assent_privacy"),
    ("eraser", "assent_eraser"),
];
const EXAMPLE_USERS_FILE: &str = "example-users.xml";
const LOOPBACK_ONLY: &str = "<networks><ip>127.0.0.1</ip><ip>::1</ip></networks>";

/// What `default` may do, who has no password: everything with databases, nothing beyond them.
///
/// Whoever reaches the port, another user of the machine or a web page in a browser on it, has these
/// rights. The library does not confine paths and commands as a server does, so reading files (FILE),
/// running commands (dictionaries with an executable source) and sending data elsewhere (URL, REMOTE
/// and the like) would be reading, running and sending as the user who started it. What no grant
/// covers is the work of [`super::confine`].
const DEFAULT_GRANTS: &str = "GRANT SHOW, SHOW ACCESS, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, \
    CREATE TEMPORARY TABLE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, SYSTEM, dictGet, CLUSTER ON *.*";
/// The table engines that keep to the data folder.
const ENGINES: [&str; 13] = [
    "AggregatingMergeTree",
    "Buffer",
    "CollapsingMergeTree",
    "Join",
    "Log",
    "Memory",
    "Merge",
    "MergeTree",
    "Null",
    "ReplacingMergeTree",
    "Set",
    "SummingMergeTree",
    "VersionedCollapsingMergeTree",
];
/// The native protocol first: once HTTP answers, both are there.
const START_SQL: &str = "SYSTEM START LISTEN TCP;\nSYSTEM START LISTEN HTTP;\n";

/// A configuration that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A users file's name could lead out of `users.d`, or would not be read there.
    #[error("{name:?} is no name for a users file: letters, digits, `-` and `_`, then `.xml`")]
    Name {
        /// The name.
        name: String,
    },
    /// A path that XML cannot hold.
    #[error("the path {} is not UTF-8; choose another data directory", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A file or a folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where everything is, under one root.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn config(&self) -> PathBuf {
        self.root.join("config/config.xml")
    }
    /// The databases.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }
    /// The server's own log of warnings, which it rotates.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log/clickhouse.log")
    }
    /// What the child prints; its lock is the server's.
    pub(super) fn console(&self) -> PathBuf {
        self.root.join("log/console.log")
    }
    /// Who started the server.
    pub(super) fn owner(&self) -> PathBuf {
        self.root.join("log/owner.pid")
    }

    /// Creates the folders, for the user alone: what people wrote will be in them.
    pub(super) fn create(&self) -> Result<(), ConfigError> {
        for folder in ["config", "data", "log"].map(|name| self.root.join(name)) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|source| ConfigError::Write { path: folder.clone(), source })?;
        }
        Ok(())
    }
}

/// Writes the whole configuration. `instance` is the name by which the server tells who it is.
pub(super) fn write(
    layout: &Layout,
    ports: Ports,
    instance: &str,
    users_xml: &[(String, String)],
) -> Result<(), ConfigError> {
    let put = |path: PathBuf, content: &str| {
        std::fs::write(&path, content).map_err(|source| ConfigError::Write { path, source })
    };
    if let Some((name, _)) = users_xml.iter().find(|(name, _)| !is_file_name(name)) {
        return Err(ConfigError::Name { name: name.clone() });
    }
    let config_path = layout.config();
    let folder = config_path.with_file_name("users.d");
    // A role that is no longer shipped must not linger.
    match std::fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(ConfigError::Write { path: folder, source });
        }
        _ => {}
    }
    std::fs::create_dir(&folder).map_err(|source| ConfigError::Write { path: folder.clone(), source })?;
    for (name, content) in users_xml {
        put(folder.join(name), content)?;
    }
    if !users_xml.is_empty() {
        put(folder.join(EXAMPLE_USERS_FILE), &example_users())?;
    }
    put(config_path.with_file_name("users.xml"), &users())?;
    put(start_sql(&config_path), START_SQL)?;
    put(config_path, &server(layout, ports, instance)?)
}

/// The statements that go with a configuration file.
pub(super) fn start_sql(config: &Path) -> PathBuf {
    config.with_file_name("start.sql")
}

fn is_file_name(name: &str) -> bool {
    name != EXAMPLE_USERS_FILE
        && name.strip_suffix(".xml").is_some_and(|stem| {
            !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn server(layout: &Layout, ports: Ports, instance: &str) -> Result<String, ConfigError> {
    // Absolute paths throughout: with a relative one the engine looks for a part's folder in the
    // wrong place when it fsyncs it, and refuses the insert.
    let path = |path: PathBuf| match path.to_str() {
        Some(text) if path.is_absolute() => Ok(escape(text)),
        _ => Err(ConfigError::Path { path }),
    };
    let data = path(layout.data())?;
    let log = path(layout.log())?;
    let error_log = path(layout.log().with_extension("err.log"))?;
    let users = path(layout.config().with_file_name("users.xml"))?;
    let instance = escape(instance);
    let Ports { http, tcp } = ports;
    Ok(format!(
        "<clickhouse>
    <!-- Generated at every start; changes are lost. -->
    <display_name>{instance}</display_name>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{http}</http_port>
    <tcp_port>{tcp}</tcp_port>

    <path>{data}/</path>
    <tmp_path>{data}/tmp/</tmp_path>
    <user_files_path>{data}/user_files/</user_files_path>
    <format_schema_path>{data}/format_schemas/</format_schema_path>
    <users_config>{users}</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <timezone>UTC</timezone>

    <!-- The level has to be said twice: the library's command line reads only the first. -->
    <log-level>warning</log-level>
    <logger>
        <level>warning</level>
        <log>{log}</log>
        <errorlog>{error_log}</errorlog>
        <size>10M</size>
        <count>3</count>
    </logger>
    <!-- Nothing leaves the machine, and nobody leaves the data folder. -->
    <access_control_improvements>
        <table_engines_require_grant>true</table_engines_require_grant>
        <!-- Without it the shipped profile of readers would not let them change anything. -->
        <settings_constraints_replace_previous>true</settings_constraints_replace_previous>
    </access_control_improvements>
    <send_crash_reports><enabled>false</enabled></send_crash_reports>

    <!-- A laptop with two cores, shared with an editor and a browser. -->
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>134217728</mark_cache_size>
    <primary_index_cache_size>67108864</primary_index_cache_size>
    <index_mark_cache_size>67108864</index_mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <max_concurrent_queries>100</max_concurrent_queries>
    <background_pool_size>2</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>

    <merge_tree>
        <!-- A confirmed insert survives a power cut. -->
        <fsync_after_insert>1</fsync_after_insert>
        <fsync_part_directory>1</fsync_part_directory>
        <!-- The library's engine removes merged parts at once (old_parts_lifetime is 0 in it). -->
        <min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
        <!-- With so small a pool the usual reserves would starve big merges and all mutations. -->
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
"
    ))
}

fn users() -> String {
    let engines: String =
        ENGINES.iter().map(|engine| format!("<query>GRANT TABLE ENGINE ON {engine}</query>")).collect();
    format!(
        "<clickhouse>
    <!-- Generated at every start; changes are lost. -->
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            {LOOPBACK_ONLY}
            <profile>default</profile>
            <quota>default</quota>
            <grants>
                <query>{DEFAULT_GRANTS}</query>
                <query>GRANT SET DEFINER ON *</query>
                {engines}
            </grants>
        </default>
    </users>
</clickhouse>
"
    )
}

fn example_users() -> String {
    let mut users = String::new();
    for (user, role) in EXAMPLE_USERS {
        // The one that erases is no reader: it has to say how a mutation is carried out.
        let profile = if role == "assent_eraser" { "default" } else { "assent_reader" };
        // Writing to a String cannot fail.
        let _ = write!(
            users,
            "
        <{user}>
            <password></password>
            {LOOPBACK_ONLY}
            <profile>{profile}</profile>
            <quota>default</quota>
            <grants><query>GRANT {role}</query></grants>
        </{user}>"
        );
    }
    format!(
        "<clickhouse>
    <!-- Generated at every start; changes are lost. For trying the roles out. -->
    <users>{users}
    </users>
</clickhouse>
"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
