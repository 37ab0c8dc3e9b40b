//! The reserve: what is put by for delivery's state, and who may not have it.

use super::*;
use crate::spool::{fs::fault::Call, reserve::RESERVE_FILE};

const RESERVE_BYTES: u64 = 3000;

fn with_reserve() -> Options {
    Options { reserve_bytes: RESERVE_BYTES, ..options() }
}

fn open(fs: &FaultFs) -> Spool {
    open_with(fs, with_reserve(), 0).unwrap()
}

fn reserve_len(fs: &FaultFs) -> Option<usize> {
    fs.content(&Path::new(DIR).join(RESERVE_FILE)).map(|it| it.len())
}

fn state_path() -> PathBuf {
    Path::new(DIR).join("delivery.json")
}

/// Appends until the disk is full.
fn fill_up(spool: &Spool) -> Vec<Vec<u8>> {
    let mut taken = Vec::new();
    loop {
        let item = format!("filling up {:04}", taken.len()).into_bytes();
        match append(&spool.appender, &item) {
            Ok(_) => taken.push(item),
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                return taken;
            }
        }
    }
}

#[test]
fn it_is_made_once_durably_and_with_blocks_of_its_own() {
    for can_allocate in [true, false] {
        let fs = FaultFs::new();
        if !can_allocate {
            fs.no_allocate();
        }
        drop(open(&fs));
        assert_eq!(reserve_len(&fs), Some(3000));
        let content = fs.content(&Path::new(DIR).join(RESERVE_FILE)).unwrap();
        assert!(can_allocate || content.iter().filter(|it| **it == 0).count() < 300, "not a hole");
        let survived = fs.crash(1);
        assert_eq!(reserve_len(&survived), Some(3000));
        let before = survived.counts();
        let spool = open(&survived);
        assert_eq!(survived.counts().appends, before.appends, "it is not written anew");
        assert!(!spool.reserve.is_spent());
        assert_eq!(spool.reader.bytes_on_disk(), 64, "it counts for itself");
    }
}

#[test]
fn one_of_another_size_and_half_of_one_are_replaced() {
    let fs = FaultFs::new();
    drop(open(&fs));
    let half = fs.create_new(&Path::new(DIR).join(".reserve.tmp")).unwrap();
    half.allocate(1000).unwrap();
    let larger = Options { reserve_bytes: 5000, ..options() };
    let spool = open_with(&fs, larger, 0).unwrap();
    assert_eq!((reserve_len(&fs), spool.reserve.is_spent()), (Some(5000), false));
    drop(spool);
    let none = Options { reserve_bytes: 0, ..options() };
    let spool = open_with(&fs, none, 0).unwrap();
    assert_eq!((reserve_len(&fs), spool.reserve.is_spent()), (None, false));
    assert_eq!(fs.content(&Path::new(DIR).join(".reserve.tmp")), None);
}

#[test]
fn on_a_full_disk_the_state_is_written_with_it_and_no_event_takes_its_room() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    spool.reserve.write_atomically(&state_path(), &[b'0'; 500]).unwrap();
    fs.set_capacity(Some(fs.used_bytes() + 2000));
    let taken = fill_up(&spool);
    assert!(taken.len() > 10 && !spool.reserve.is_spent(), "an append does not get at it");
    assert_eq!(reserve_len(&fs), Some(3000));
    // The state is replaced as often as delivery likes; each needs room beside the last.
    for round in b'1'..=b'9' {
        let state = [round; 900];
        spool.reserve.write_atomically(&state_path(), &state).unwrap();
        assert_eq!(fs.content(&state_path()).unwrap(), state);
        assert!(spool.reserve.is_spent());
        assert_eq!(append(&spool.appender, b"e"), Err(AppendError::Full), "there are blocks, for the state");
        assert!(!spool.appender.accepts());
        spool.reserve.refill();
        assert!(spool.reserve.is_spent(), "there is no room for it yet");
    }
    assert_eq!(items_in(&spool.reader), taken);
    let survived = fs.crash(3);
    assert_eq!(survived.content(&state_path()).unwrap(), [b'9'; 900]);
}

#[test]
fn a_full_disk_drains_and_recovers_by_itself() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    fs.set_capacity(Some(fs.used_bytes() + 12_000));
    let taken = fill_up(&spool);
    let mut delivered = Vec::new();
    let mut at = Position(0);
    while let Some(frame) = spool.reader.read_from(at).unwrap() {
        at = frame.next;
        delivered.extend(items(&frame.payload));
        // As delivery does: a plan, an insert, the cursor, then what lies before it goes.
        for state in ["plan", "cursor"] {
            spool.reserve.write_atomically(&state_path(), state.repeat(100).as_bytes()).unwrap();
        }
        spool.reader.release(at).unwrap();
        spool.reserve.refill();
    }
    assert_eq!(delivered, taken);
    assert!(!spool.reserve.is_spent() && reserve_len(&fs) == Some(3000), "it is there for the next time");
    assert!(spool.appender.accepts());
    assert!(!fill_up(&spool).is_empty());
}

#[test]
fn room_made_by_somebody_else_is_noticed_without_delivery() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    fs.set_capacity(Some(fs.used_bytes()));
    spool.reserve.write_atomically(&state_path(), b"state").unwrap();
    assert!(spool.reserve.is_spent());
    fs.set_capacity(Some(fs.used_bytes() + RESERVE_BYTES + 50));
    assert_eq!(append(&spool.appender, &[1; 30]), Err(AppendError::Full), "room for one of the two");
    fs.set_capacity(Some(fs.used_bytes() + RESERVE_BYTES + 300));
    assert!(spool.appender.accepts());
    append(&spool.appender, &[1; 30]).unwrap();
    assert!(!spool.reserve.is_spent(), "the append had it made first");
}

#[test]
fn opening_a_full_disk_works_with_it_and_without() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..10));
    let last = frames_from(&spool.reader, 0).pop().unwrap();
    drop(spool);
    // Without: nothing has to be written, and there is no room for it.
    let without = fs.kill();
    without.remove(&Path::new(DIR).join(RESERVE_FILE)).unwrap();
    without.set_capacity(Some(without.used_bytes() + 100));
    let spool = open(&without);
    assert_eq!(items_in(&spool.reader), numbered(0..10));
    assert!(spool.reserve.is_spent());
    assert_eq!(append(&spool.appender, b"x"), Err(AppendError::Full));
    without.set_capacity(None);
    append(&spool.appender, b"x").unwrap();

    // With: the end is damaged, so a copy and a new segment are needed.
    let segments = crate::spool::inspect::inspect_on(&fs, Path::new(DIR)).unwrap().segments;
    fs.flip_bit(
        &segment_path(segments.last().unwrap().base.0),
        last.next.0 - 1 - segments.last().unwrap().base.0,
        0,
    );
    fs.set_capacity(Some(fs.used_bytes()));
    let spool = open(&fs);
    assert!(spool.reserve.is_spent());
    assert_eq!(items_in(&spool.reader), numbered(0..9));
    assert_eq!(spool.recovery.quarantined.len(), 1);
    assert!(fs.list(&Path::new(DIR).join("quarantine")).unwrap()[0].name.ends_with(".damaged"));
    assert_eq!(append(&spool.appender, b"x"), Err(AppendError::Full));
    spool.reserve.write_atomically(&state_path(), &[b's'; 500]).unwrap();
    fs.set_capacity(None);
    append(&spool.appender, b"x").unwrap();
    assert!(!spool.reserve.is_spent());
}

#[test]
fn one_that_could_not_be_removed_is_given_up_the_next_time() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    fs.set_capacity(Some(fs.used_bytes()));
    fs.fail_once(Call::Remove, 0, Errno::IO);
    let failed = spool.reserve.write_atomically(&state_path(), b"state").unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(Errno::IO.raw_os_error()));
    spool.reserve.write_atomically(&state_path(), b"state").unwrap();
    assert_eq!(fs.content(&state_path()).unwrap(), b"state");
}

#[test]
fn damage_that_is_met_on_a_full_disk_does_not_hold_delivery_up() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..5));
    let frame = spool.reader.read_from(Position(0)).unwrap().unwrap();
    // What was read is in memory; this makes the reader look at the disk again.
    spool.reader.release(spool.reader.durable_end()).unwrap();
    spool.reader.wait_until_writer_rests();
    append_each(&spool, numbered(5..8));
    let base = segments(&fs).last().unwrap().clone();
    let at = segment::parse_file_name(&base.name).unwrap();
    fs.flip_bit(&segment_path(at.0), 64 + 33, 0);
    fs.set_capacity(Some(fs.used_bytes()));
    let read: Vec<_> =
        frames_from(&spool.reader, frame.next.0).iter().flat_map(|it| items(&it.payload)).collect();
    assert_eq!(read.last(), numbered(7..8).last());
    assert!(!read.contains(&numbered(5..6)[0]));
    assert_eq!(spool.reader.damaged_ranges(), 1);
    assert!(spool.reserve.is_spent());
}

#[test]
fn a_disk_without_the_room_is_an_error_and_not_a_loop() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    fs.set_capacity(Some(fs.used_bytes()));
    let refused = spool.reserve.write_atomically(&state_path(), &[0; 4000]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs.content(&state_path()), None);
    spool.reserve.write_atomically(&state_path(), &[0; 2000]).unwrap();
}

#[test]
fn while_it_is_given_up_an_append_waits() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    fs.set_capacity(Some(fs.used_bytes()));
    fs.hold_syncs();
    let reserve = spool.reserve.clone();
    let writing = std::thread::spawn(move || reserve.write_atomically(&state_path(), &[7; 2500]));
    fs.wait_for_held_sync();
    let mut appending = Box::pin(spool.appender.append(vec![1; 400]));
    assert!(poll_once(&mut appending).is_pending());
    fs.let_syncs_go();
    writing.join().unwrap().unwrap();
    assert_eq!(block_on(appending), Err(AppendError::Full));
    assert_eq!(fs.content(&state_path()).unwrap(), [7; 2500]);
}

#[test]
fn a_real_disk_gives_it_blocks() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().to_owned(), reserve_bytes: 1 << 20, ..options() };
    let open = || crate::spool::open(options.clone(), TestEncoder::default(), Position(0)).unwrap();
    let path = dir.path().join(RESERVE_FILE);
    let allocated = || std::fs::metadata(&path).unwrap().blocks() * 512;
    drop(open());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
    assert!(allocated() >= 1 << 20, "{} bytes", allocated());
    // A copy that left holes.
    std::fs::remove_file(&path).unwrap();
    std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let spool = open();
    assert!(!spool.reserve.is_spent());
    assert!(allocated() >= 1 << 20, "{} bytes", allocated());
}
