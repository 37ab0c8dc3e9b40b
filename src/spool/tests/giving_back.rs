//! What is delivered does not stay on the disk.

use std::time::Duration;

use super::*;

const NEVER: Duration = Duration::from_secs(1 << 40);

fn whole_disk_holds(fs: &FaultFs, text: &[u8]) -> bool {
    let files = fs.list(Path::new(DIR)).unwrap();
    files.iter().any(|it| {
        let content = fs.content(&Path::new(DIR).join(&it.name)).unwrap();
        memchr::memmem::find(&content, text).is_some()
    })
}

fn release_all(spool: &Spool) -> u64 {
    spool.reader.release(spool.reader.durable_end()).unwrap()
}

#[test]
fn a_large_segment_goes_as_soon_as_all_of_it_is_released() {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 16_000, idle_rotation: NEVER, ..options() };
    let spool = open_with(&fs, options.clone(), 0).unwrap();
    append_each(&spool, (0..10).map(|_| [b'x'; 100]));
    let end = spool.reader.durable_end();
    spool.reader.release(frames_from(&spool.reader, 0)[9].position).unwrap();
    spool.reader.wait_until_writer_rests();
    assert!(whole_disk_holds(&fs, b"xxx"), "one frame is not released");
    release_all(&spool);
    spool.reader.wait_until_writer_rests();
    assert!(!whole_disk_holds(&fs, b"xxx"));
    assert_eq!(segments(&fs).len(), 1);
    assert_eq!(spool.reader.bytes_on_disk(), 64);
    assert_eq!(spool.reader.durable_end(), end, "no position is skipped or used twice");
    append(&spool.appender, b"after").unwrap();
    let after = frames_from(&spool.reader, end.0);
    assert_eq!((after[0].position, after[0].seq), (Position(end.0 + 64), 10));
    drop(spool);
    let spool = open_with(&fs, options, end.0).unwrap();
    assert_eq!(items_in(&spool.reader), [b"after"]);
    assert_eq!(spool.recovery.missing_frames, 0);
}

#[test]
fn a_small_segment_stays_while_something_may_come_and_costs_no_sync() {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 16_000, idle_rotation: NEVER, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    let before = (fs.counts().syncs, fs.counts().dir_syncs);
    for item in numbered(0..15) {
        append(&spool.appender, &item).unwrap();
        release_all(&spool);
        spool.reader.wait_until_writer_rests();
    }
    assert_eq!((fs.counts().syncs, fs.counts().dir_syncs), (before.0 + 15, before.1));
    assert!(whole_disk_holds(&fs, b"item 0000"));
}

#[test]
fn a_small_segment_goes_when_nothing_comes_for_a_while() {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 16_000, idle_rotation: Duration::from_millis(1), ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    append(&spool.appender, b"delivered").unwrap();
    release_all(&spool);
    fs.wait_until(|fs| !fs.has(&segment_path(0)));
    assert!(!whole_disk_holds(&fs, b"delivered"));
    append(&spool.appender, b"after").unwrap();
    assert_eq!(items_in(&spool.reader), [b"after"]);
}

#[test]
fn a_full_disk_does_not_keep_it() {
    let fs = FaultFs::new();
    let options = Options { reserve_bytes: 500, idle_rotation: NEVER, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    append(&spool.appender, &[b'x'; 1000]).unwrap();
    fs.set_capacity(Some(fs.used_bytes()));
    release_all(&spool);
    spool.reader.wait_until_writer_rests();
    assert!(!whole_disk_holds(&fs, b"xxx"));
    assert!(!spool.reserve.is_spent(), "what came free was more");
    append(&spool.appender, &[b'y'; 700]).unwrap();
}

#[test]
fn a_disk_too_full_even_for_that_is_no_fault_and_the_next_release_tries_again() {
    let fs = FaultFs::new();
    let options = Options { idle_rotation: Duration::ZERO, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    append(&spool.appender, b"delivered").unwrap();
    fs.set_capacity(Some(fs.used_bytes()));
    release_all(&spool);
    spool.reader.wait_until_writer_rests();
    assert!(whole_disk_holds(&fs, b"delivered"));
    assert_eq!(segments(&fs).len(), 1, "no half of a segment is left");
    assert_eq!(spool.appender.poisoned(), None);
    fs.set_capacity(None);
    fs.wait_until(|fs| !fs.has(&segment_path(0)));
    append(&spool.appender, b"after").unwrap();
    assert_eq!(items_in(&spool.reader), [b"after"]);
}

#[test]
fn after_a_clean_end_the_last_release_gives_it_back() {
    for released_before in [false, true] {
        let fs = FaultFs::new();
        let options = Options { segment_bytes: 16_000, idle_rotation: NEVER, ..options() };
        let mut spool = open_with(&fs, options.clone(), 0).unwrap();
        append_each(&spool, numbered(0..5));
        if released_before {
            release_all(&spool);
        }
        block_on(spool.writer.close());
        if !released_before {
            assert_eq!(items_in(&spool.reader), numbered(0..5), "the drain still reads");
            assert!(release_all(&spool) > 100);
        }
        let end = spool.reader.durable_end();
        assert!(!whole_disk_holds(&fs, b"item"));
        assert_eq!(append(&spool.appender, b"after"), Err(AppendError::Closed));
        drop(spool);
        let spool = open_with(&fs, options, end.0).unwrap();
        append(&spool.appender, b"after").unwrap();
        let after = frames_from(&spool.reader, 0);
        assert_eq!((after.len(), after[0].seq), (1, 5));
        assert!(after[0].position >= end);
    }
}

#[test]
fn what_is_not_synced_is_not_released_whatever_anybody_says() {
    let fs = FaultFs::new();
    let options = Options { fsync: FsyncPolicy::Interval(NEVER), ..options() };
    let mut spool = open_with(&fs, options, 0).unwrap();
    append(&spool.appender, b"not shown yet").unwrap();
    spool.reader.release(Position(u64::MAX)).unwrap();
    spool.reader.wait_until_writer_rests();
    block_on(spool.writer.close());
    assert_eq!(items_in(&spool.reader), [b"not shown yet"]);
}

#[test]
fn a_failed_sync_on_the_way_ends_the_writer() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append(&spool.appender, b"delivered").unwrap();
    fs.fail_syncs(Some(Errno::IO));
    release_all(&spool);
    spool.reader.wait_until_writer_rests();
    assert!(spool.appender.poisoned().unwrap().contains("beginning a segment"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_removed_segment_is_not_kept_open() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().to_owned(), ..options() };
    let spool = crate::spool::open(options, TestEncoder::default(), Position(0)).unwrap();
    append_each(&spool, numbered(0..30));
    assert_eq!(items_in(&spool.reader), numbered(0..30));
    release_all(&spool);
    spool.reader.wait_until_writer_rests();
    let open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|it| std::fs::read_link(it.ok()?.path()).ok())
        .filter(|it| it.starts_with(dir.path()) && it.to_string_lossy().ends_with("(deleted)"))
        .collect();
    assert_eq!(open, Vec::<PathBuf>::new());
}
