//! One request as a file, for a client that knows nothing of this program.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use assent::ingress::proto::CollectRequest;
use prost::Message as _;

use crate::{
    RecordArgs,
    generate::{PREFIX_BYTES, Pool, people},
    otlp,
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
    write(&args.out, &batch.framed)?;
    if let Some(out) = &args.otlp {
        let request = CollectRequest::decode(&batch.framed[PREFIX_BYTES..])?;
        let framed = framed(&otlp::logs(request))?;
        write(out, &framed)?;
        say(&format!("{} bytes as log records of OpenTelemetry", framed.len()));
    }
    say(&format!(
        "{} events, {} bytes, {} of them text; they are of now, and a collector takes them for `ingress.max_age` (30 days)",
        batch.events,
        batch.framed.len(),
        batch.text_bytes
    ));
    Ok(true)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A message, not compressed, as gRPC sends it.
fn framed(message: &impl prost::Message) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(message.encoded_len()).context("the request is longer than gRPC can say")?;
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    message.encode(&mut framed)?;
    Ok(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of a file, behind its prefix.
    fn message(file: &Path) -> Vec<u8> {
        let written = std::fs::read(file).unwrap();
        let (prefix, message) = written.split_at(PREFIX_BYTES);
        assert_eq!(prefix, [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
        message.to_vec()
    }

    #[test]
    fn a_recording_is_one_framed_request() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("request.bin");
        let logs_out = folder.path().join("logs.bin");
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/smoke.toml").into();
        for (events, expected) in [(None, 100), (Some(7), 7)] {
            let args = RecordArgs {
                scenario: std::path::PathBuf::clone(&scenario),
                out: out.clone(),
                otlp: Some(logs_out.clone()),
                events,
            };
            record(&args).unwrap();
            let request = CollectRequest::decode(message(&out).as_slice()).unwrap();
            assert_eq!(request.events.len(), expected);
            assert!(request.events.iter().all(|event| event.event_id.len() == 36));
            let logs = otlp::ExportLogsServiceRequest::decode(message(&logs_out).as_slice()).unwrap();
            assert_eq!(logs, otlp::logs(request));
            let records =
                logs.resource_logs.iter().flat_map(|it| &it.scope_logs).flat_map(|it| &it.log_records);
            assert_eq!(records.count(), expected);
        }
        let none = RecordArgs { scenario, out, otlp: None, events: Some(0) };
        assert!(record(&none).is_err());
    }
}
