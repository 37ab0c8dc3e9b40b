//! `assent pseudonyms`: makes keys of pseudonyms, lists those in use by their ids, and replaces them.

use std::{
    fs::File,
    io::{self, BufRead, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::{
    app,
    clickhouse::Client,
    config::Config,
    consent::rekey::{self, KnownKey, Rekeying},
    event::{RawUserId, Tenant},
    pipeline::{
        PseudonymKey, Pseudonymiser,
        authenticate::LOCAL_TENANT,
        validate::{self, MAX_USER_ID_BYTES},
    },
    spool,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a random key, in the form of the key file
    Generate {
        /// A new file, readable by its owner alone; standard output when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the ids of the configured keys, the current one first
    List,
    /// Print what the ledger has under which key
    Status,
    /// Copy people's consent under the current key, from the older ones of the ring
    ///
    /// Runs as a user who may insert into `consent_changes`, such as a collector's. Run again, it copies what is
    /// still missing.
    Rekey(RekeyArgs),
    /// Say that a key is not used any more, so that it can be removed from all rings, for good
    ///
    /// The training views then show no row that was stamped under it: no opt-out would reach it. Runs as a user who may
    /// insert into `pseudonym_keys_retired`: the one who migrates. No shipped role may.
    Retire(RetireArgs),
}

#[derive(Debug, Args)]
pub(super) struct RekeyArgs {
    /// Whose users they are
    #[arg(long)]
    tenant: String,
    /// A file with a user id a line, as clients send it; `-` for standard input
    #[arg(long, value_name = "FILE")]
    user_ids: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RetireArgs {
    /// The key's id, as in the column `pseudonym_key_id`
    key_id: String,
    /// Why; kept in ClickHouse. No personal data
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// At most so many people have consent under this key alone, and it may be forgotten, a no as well as a yes
    #[arg(long, value_name = "PEOPLE", default_value_t = 0)]
    leaving_behind: u64,
    /// Also while no collector stamps with another key: nobody has this one any more
    #[arg(long)]
    lost: bool,
}

/// How many people are copied from one word of progress to the next.
const PROGRESS: u64 = 100_000;

/// Makes a key. It needs no configuration.
pub(super) fn generate(out: Option<PathBuf>) -> anyhow::Result<()> {
    let key = PseudonymKey::generate()?;
    let text = key.to_text();
    let Some(path) = out else {
        let mut stdout = io::stdout().lock();
        return stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write the key");
    };
    spool::fs::write_new_private(&path, text.as_bytes())
        .with_context(|| format!("cannot make {}, which must not exist yet", path.display()))?;
    println!("{}", key.id());
    Ok(())
}

/// Prints ids, never keys.
pub(super) fn list(config: &Config) -> anyhow::Result<()> {
    for (index, id) in app::read_key_ring(config)?.ids().enumerate() {
        println!("{id}{}", if index == 0 { " current" } else { "" });
    }
    Ok(())
}

/// Those that ask ClickHouse.
pub(super) async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let client =
        Client::new(&config.clickhouse_options())?.with_insert_quorum(config.clickhouse.insert_quorum);
    match command {
        Command::Generate { out } => generate(out),
        Command::List => list(config),
        Command::Status => status(&client, None).await,
        Command::Rekey(args) => rekey(config, &client, args).await,
        Command::Retire(RetireArgs { key_id, reason, leaving_behind, lost }) => {
            let left = rekey::retire(&client, &key_id, &reason, leaving_behind, lost)
                .await
                .with_context(|| format!("cannot retire {key_id}"))?;
            println!("{key_id} is retired: no training view shows what was stamped under it");
            if left > 0 {
                println!("the consent of {left} people is left behind");
            }
            Ok(())
        }
    }
}

async fn rekey(config: &Config, client: &Client, args: RekeyArgs) -> anyhow::Result<()> {
    let mut tenants = config.tenants.iter().map(|tenant| tenant.name.as_str());
    if !(tenants.any(|name| name == args.tenant) || config.tenants.is_empty() && args.tenant == LOCAL_TENANT)
    {
        bail!("there is no tenant {:?} in the configuration", args.tenant);
    }
    let ring = app::read_key_ring(config)?;
    if ring.ids().count() < 2 {
        bail!(
            "there is one pseudonym key only: give this command the ring with the new key first, the old one below it"
        );
    }
    let pseudonymiser = Pseudonymiser::of_ring(&ring);
    let tenant = Tenant::new(&args.tenant);
    let mut ids = UserIds::open(&args.user_ids)?;
    let mut rekeying = Rekeying::new(client, &pseudonymiser, tenant.clone());
    let mut people = 0_u64;
    while let Some(user_id) = ids.next()? {
        rekeying.add(user_id).await.context("cannot copy consent; run it again, it goes on where it was")?;
        people += 1;
        if people.is_multiple_of(PROGRESS) {
            tracing::info!(people, "still copying");
        }
    }
    let done =
        rekeying.finish().await.context("cannot copy consent; run it again, it goes on where it was")?;
    println!("{} people listed, {} of them with consent under an older key", done.people, done.with_consent);
    println!("{} changes copied, {} were there already", done.copied, done.already_there);
    status(client, Some(&tenant)).await
}

async fn status(client: &Client, tenant: Option<&Tenant>) -> anyhow::Result<()> {
    let known = rekey::keys(client, tenant).await.context("cannot read which keys there are")?;
    if known.is_empty() {
        println!("no key is in use");
    }
    for KnownKey { key_id, in_use, retired, people, only_here } in known {
        let state = match (retired, in_use) {
            (true, _) => "retired",
            (false, true) => "in use",
            (false, false) => "not stamped with",
        };
        println!(
            "key {key_id}  {state}, {people} people{}",
            match (retired, only_here) {
                (true, _) | (_, 0) => String::new(),
                (false, only) => format!(", {only} of them under no other key"),
            }
        );
    }
    Ok(())
}

/// User ids, a line each, one in memory at a time. What is wrong with one is told by its line's number alone.
struct UserIds {
    reader: Box<dyn BufRead>,
    line: Zeroizing<Vec<u8>>,
    number: u64,
}

impl UserIds {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let reader: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            Box::new(io::BufReader::new(file))
        };
        Ok(Self::of(reader))
    }

    fn of(reader: Box<dyn BufRead>) -> Self {
        Self { reader, line: Zeroizing::default(), number: 0 }
    }

    /// The next one; empty lines are none.
    fn next(&mut self) -> anyhow::Result<Option<RawUserId<'_>>> {
        loop {
            self.line.clear();
            self.number += 1;
            let number = self.number;
            // With its end, of one byte or two.
            let longest = MAX_USER_ID_BYTES as u64 + 2;
            let read = (&mut self.reader).take(longest).read_until(b'\n', &mut self.line);
            if read.with_context(|| format!("cannot read line {number}"))? == 0 {
                return Ok(None);
            }
            if self.line.ends_with(b"\n") {
                self.line.pop();
                if self.line.ends_with(b"\r") {
                    self.line.pop();
                }
            }
            if !self.line.is_empty() {
                break;
            }
        }
        let number = self.number;
        let text =
            std::str::from_utf8(&self.line).map_err(|_| anyhow::anyhow!("line {number} is not UTF-8"))?;
        let user_id = RawUserId::new(text);
        match validate::user_id(user_id) {
            Ok(()) => Ok(Some(user_id)),
            Err(broken) => bail!("line {number}: {}", broken.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &'static [u8]) -> anyhow::Result<Vec<String>> {
        let mut ids = UserIds::of(Box::new(text));
        let mut read = Vec::new();
        while let Some(id) = ids.next()? {
            read.push(id.expose().to_owned());
        }
        Ok(read)
    }

    #[test]
    fn ids_are_lines_and_keep_their_spaces() {
        assert_eq!(ids(b"ann\r\n\n ben \ncleo").unwrap(), ["ann", " ben ", "cleo"]);
        assert!(ids(b"").unwrap().is_empty());
        let longest: &'static [u8] = vec![b'x'; MAX_USER_ID_BYTES].leak();
        assert_eq!(ids(longest).unwrap()[0].len(), MAX_USER_ID_BYTES);
    }

    #[test]
    fn what_is_no_id_is_told_by_its_line_and_not_repeated() {
        let long: &'static [u8] = [&b"ann\n"[..], &[b'y'; 4_000]].concat().leak();
        for (text, line) in [(long, "line 2"), (b"ann\nben\n   \n", "line 3"), (b"\xffsecret\n", "line 1")] {
            let refused = format!("{:#}", ids(text).unwrap_err());
            assert!(refused.contains(line), "{refused}");
            assert!(!refused.contains("yyy") && !refused.contains("secret"), "{refused}");
        }
    }
}
