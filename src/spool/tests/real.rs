//! The same on the operating system's files.

use super::*;
use crate::spool::{inspect, open as open_real};

#[test]
fn a_spool_lives_in_a_folder_and_outlasts_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("deep/spool"), ..options() };
    let open = || open_real(options.clone(), TestEncoder::default(), Position(0));
    let spool = open().unwrap();
    append_each(&spool, numbered(0..30));
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::Locked { pid, .. } if pid == Some(std::process::id())), "{refused}");
    assert!(refused.to_string().contains(&format!("by process {}", std::process::id())));
    let seen = inspect(&options.dir).unwrap();
    assert_eq!(seen.segments.iter().map(|it| it.frames).sum::<u64>(), 30);
    drop(spool);
    let spool = open().unwrap();
    assert_eq!(items_in(&spool.reader), numbered(0..30));
    let end = spool.reader.durable_end();
    assert!(spool.reader.release(end).unwrap() > 0);
    append(&spool.appender, b"after").unwrap();
    assert_eq!(items(&frames_from(&spool.reader, end.0)[0].payload), [b"after"]);
    assert_eq!(
        inspect(&options.dir).unwrap().segments.iter().map(|it| it.bytes).sum::<u64>(),
        spool.reader.bytes_on_disk()
    );
}

#[test]
fn a_torn_tail_and_a_flipped_bit_are_handled_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().to_owned(), segment_bytes: 1 << 16, ..options() };
    let open = || open_real(options.clone(), TestEncoder::default(), Position(0)).unwrap();
    let spool = open();
    append_each(&spool, numbered(0..10));
    let frames = frames_from(&spool.reader, 0);
    drop(spool);
    let path = dir.path().join(segment::file_name(Position(0)));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(frames[3].position.0).unwrap() + 33] ^= 4;
    bytes.truncate(usize::try_from(frames[9].next.0).unwrap() - 2);
    std::fs::write(&path, bytes).unwrap();
    let spool = open();
    assert_eq!(spool.recovery.quarantined.len(), 1);
    assert!(spool.recovery.truncated_bytes > 0);
    append(&spool.appender, b"after").unwrap();
    let mut expected = numbered((0..9).filter(|it| *it != 3));
    expected.push(b"after".to_vec());
    assert_eq!(items_in(&spool.reader), expected);
    assert_eq!(std::fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
}

/// A real disk that is full, with what a real file system does about it. Give it a folder on one of
/// some MiB, all of which it fills.
#[test]
#[ignore = "needs SPOOL_SMALL_DISK, an empty folder on a disk of 2 to 64 MiB; see `.ci/run disks`"]
fn a_small_disk_fills_and_drains_again_and_again() {
    let dir = PathBuf::from(std::env::var_os("SPOOL_SMALL_DISK").unwrap());
    let options = Options {
        dir: dir.join("spool"),
        segment_bytes: 128 << 10,
        max_bytes: 10 << 30,
        reserve_bytes: 256 << 10,
        ..options()
    };
    let state = options.dir.join("delivery.json");
    let open = |at: Position| open_real(options.clone(), TestEncoder::default(), at).unwrap();
    let mut spool = open(Position(0));
    let (mut sent, mut next) = (0_usize, 0_usize);
    let mut cursor = Position(0);
    for round in 0..6 {
        let first = sent;
        loop {
            let mut item = sent.to_le_bytes().to_vec();
            item.resize(2000 + sent % 3000, 7);
            match append(&spool.appender, &item) {
                Ok(_) => sent += 1,
                Err(error) => break assert_eq!(error, AppendError::Full),
            }
        }
        assert!(sent - first > 10, "round {round}: only {} fit", sent - first);
        assert!(!spool.appender.accepts());
        if round % 3 == 2 {
            drop(spool);
            spool = open(cursor);
        }
        // One part stays, so that the next round begins on a disk that is nearly full.
        let until = sent - (sent - next) / 4;
        while next < until {
            for _ in 0..20 {
                let Some(frame) = spool.reader.read_from(cursor).unwrap() else { break };
                for item in items(&frame.payload) {
                    assert_eq!(item[..8], next.to_le_bytes(), "round {round}");
                    next += 1;
                }
                cursor = frame.next;
            }
            for text in [b"plan", b"done"] {
                spool.reserve.write_atomically(&state, &text.repeat(2000)).unwrap();
            }
            spool.reader.release(cursor).unwrap();
            spool.reserve.refill();
        }
        assert!(!spool.reserve.is_spent(), "round {round}");
    }
}
