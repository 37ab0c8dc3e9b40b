//! One request as a file, for a client that knows nothing of this program.

use std::{io::Write as _, sync::Arc};

use anyhow::{Context as _, ensure};

use crate::{
    RecordArgs,
    generate::{Pool, people},
    progress::say,
    scenario::{Compression, Scenario},
};

/// As many as a collector takes in one request, unless it is configured otherwise.
const MAX_EVENTS: u32 = 10_000;

/// Writes a `CollectRequest` with the prefix that gRPC puts before it: the body of an HTTP/2 request.
pub(crate) fn record(args: &RecordArgs) -> anyhow::Result<bool> {
    let scenario = Scenario::read(&args.scenario)?;
    let events_per_request = args.events.unwrap_or(scenario.events_per_request);
    ensure!((1..=MAX_EVENTS).contains(&events_per_request), "--events is 1 to {MAX_EVENTS}");
    // Compressed, it would need a header that says so.
    let scenario = Scenario { events_per_request, compression: Compression::None, ..scenario };
    let people = Arc::new(people(&scenario));
    let batch = Pool::small(&scenario, people).next()?;
    let mut file =
        std::fs::File::create(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    file.write_all(&batch.framed).with_context(|| format!("cannot write {}", args.out.display()))?;
    say(&format!(
        "{} events, {} bytes, {} of them text; they are of now, and a collector takes them for `ingress.max_age` (30 days)",
        batch.events,
        batch.framed.len(),
        batch.text_bytes
    ));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use assent::ingress::proto::CollectRequest;
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_recording_is_one_framed_request() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("request.bin");
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/smoke.toml").into();
        for (events, expected) in [(None, 100), (Some(7), 7)] {
            let args =
                RecordArgs { scenario: std::path::PathBuf::clone(&scenario), out: out.clone(), events };
            record(&args).unwrap();
            let written = std::fs::read(&out).unwrap();
            let (prefix, message) = written.split_at(5);
            assert_eq!(prefix, [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
            let request = CollectRequest::decode(message).unwrap();
            assert_eq!(request.events.len(), expected);
            assert!(request.events.iter().all(|event| event.event_id.len() == 36));
        }
        let none = RecordArgs { scenario, out, events: Some(0) };
        assert!(record(&none).is_err());
    }
}
