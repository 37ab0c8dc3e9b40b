//! Opening a spool whose files were changed in any way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use super::{
    FsyncPolicy, GroupEncoder, Options, Position,
    fs::{Fs, append_all, fault::FaultFs},
    open_on, segment,
};

const DIR: &str = "/spool";

/// One item a frame, as it is.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl GroupEncoder for Bytes {
    type Item = Vec<u8>;

    fn item_bytes(item: &Vec<u8>) -> usize {
        item.len()
    }

    fn push(&mut self, item: Vec<u8>) {
        self.0 = item;
    }

    fn len_bytes(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 500,
        max_bytes: 1 << 20,
        group_bytes: 1,
        reserve_bytes: 0,
        // Files are made anew for each input; there is no power to be cut.
        fsync: FsyncPolicy::Never,
        ..Options::new(PathBuf::from(DIR))
    }
}

type Files = BTreeMap<String, Vec<u8>>;
type Frames = BTreeMap<Position, Vec<u8>>;

/// A spool of several segments, and what is in it.
struct Sound {
    files: Files,
    frames: Frames,
}

static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let fs = FaultFs::new();
    let contents = (0..14_u8).map(|n| vec![n; 20 + usize::from(n) * 11]).collect();
    let frames = open(&fs, contents).expect("an empty spool opens");
    let names = fs.list(Path::new(DIR)).unwrap_or_default().into_iter().map(|it| it.name);
    let files = names.filter_map(|name| {
        let content = fs.content(&Path::new(DIR).join(&name))?;
        (name.ends_with(".seg") || name == "spool.id").then_some((name, content))
    });
    Sound { files: files.collect(), frames }
});

/// Opens a spool, appends, and reads all that is there; none if it refuses.
fn open(fs: &FaultFs, items: Vec<Vec<u8>>) -> Option<Frames> {
    let spool = open_on(Arc::new(fs.clone()), options(), Bytes::default(), Position(0)).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for item in items {
        runtime.block_on(spool.appender.append(item)).expect("there is room");
    }
    let mut frames = Frames::new();
    let mut at = Position(0);
    while let Some(frame) = spool.reader.read_from(at).expect("the disk is well") {
        assert!(frame.position >= at && frame.next > frame.position, "positions rise");
        at = frame.next;
        frames.insert(frame.position, frame.payload.to_vec());
    }
    Some(frames)
}

/// Takes changes off the input, 8 bytes each: what, in which file, where, how.
fn change(files: &mut Files, input: &[u8]) {
    for change in input.chunks_exact(8) {
        let [what, file, a, b, c, d, e, f] = *change else { return };
        let names: Vec<String> = files.keys().cloned().collect();
        let Some(name) = names.get(usize::from(file) % names.len().max(1)) else { return };
        let Some(content) = files.get_mut(name) else { return };
        let len = content.len();
        let at = usize::from(u16::from_le_bytes([a, b])) % (len + 1);
        let count = usize::from(u16::from_le_bytes([c, d])) % 700;
        let end = (at + count).min(len);
        match what % 7 {
            0 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= e.max(1)),
            1 => content.truncate(at),
            2 => content[at..end].fill(f),
            3 => drop(content.splice(at..at, std::iter::repeat_n(e, count))),
            // An old block of the disk, from this file or another.
            4 => {
                let other = names.get(usize::from(e) % names.len()).and_then(|it| files.get(it));
                let block: Vec<u8> = other.into_iter().flatten().skip(at).take(count).copied().collect();
                if let Some(content) = files.get_mut(name) {
                    let to = usize::from(f) * 4 % (content.len() + 1);
                    content.truncate(to);
                    content.extend(block);
                }
            }
            5 => drop(files.remove(name)),
            // A copy of a segment under the name of another place.
            _ => {
                let copy = content.clone();
                let base = Position(u64::from(u16::from_le_bytes([c, d])));
                files.insert(segment::file_name(base), copy);
            }
        }
    }
}

/// Whether a frame's bytes are where they were, in a segment of the name that it had.
fn is_untouched(files: &Files, position: Position, payload: &[u8]) -> bool {
    let mut sound = SOUND
        .files
        .iter()
        .filter_map(|(name, content)| Some((segment::parse_file_name(name)?.0, name, content)));
    let Some((base, name, before)) = sound.rfind(|it| it.0 <= position.0) else { return false };
    let start = usize::try_from(position.0 - base).unwrap_or(usize::MAX);
    let end = start + super::frame::HEADER_BYTES + payload.len();
    // A segment ends where the next one of any name starts.
    let next = files.keys().filter_map(|it| segment::parse_file_name(it)).find(|it| it.0 > base);
    next.is_none_or(|next| next.0 >= base + end as u64)
        && files.get(name).is_some_and(|now| now.get(start..end) == before.get(start..end))
}

/// Changes the files of a sound spool as the input says, or takes the input for a segment, and opens the
/// spool. Nothing panics; what is read was written, where it was written; what was not touched is read;
/// the spool takes more; and opening it again finds the same.
pub fn recovery(input: &[u8]) {
    let Some((mode, input)) = input.split_first() else { return };
    let mut files = SOUND.files.clone();
    let raw = mode % 4 == 3;
    if raw {
        files.retain(|name, _| name == "spool.id");
        files.insert(segment::file_name(Position(0)), input.to_vec());
    } else {
        change(&mut files, input);
    }
    let fs = FaultFs::new();
    fs.create_dir(Path::new(DIR)).expect("a folder");
    for (name, content) in &files {
        let file = fs.create_new(&Path::new(DIR).join(name)).expect("a file");
        append_all(&*file, content, &[]).expect("there is room");
        file.sync_data().expect("the disk is well");
    }
    fs.sync_dir(Path::new(DIR)).expect("the disk is well");

    let Some(found) = open(&fs, Vec::new()) else {
        assert!(open(&fs, Vec::new()).is_none(), "what is refused once is refused again");
        return;
    };
    if !raw && files.get("spool.id") == SOUND.files.get("spool.id") {
        for (position, payload) in &found {
            assert_eq!(SOUND.frames.get(position), Some(payload), "read, and never written: {position}");
        }
        for (position, payload) in &SOUND.frames {
            if is_untouched(&files, *position, payload) {
                assert!(found.contains_key(position), "untouched, and not read: {position}");
            }
        }
    }
    let more = open(&fs, vec![b"more".to_vec()]).expect("a spool that was opened opens again");
    let appended = more.last_key_value().filter(|it| it.1 == b"more").map(|it| *it.0);
    let appended = appended.expect("what was appended is the last that there is");
    assert!(found.last_key_value().is_none_or(|it| *it.0 < appended), "no place is used twice");
    for (position, payload) in &found {
        assert_eq!(more.get(position), Some(payload), "read once, and not again: {position}");
    }
    // A file that was no segment, and is in quarantine now, may have hidden the end of the one before it.
    for (position, payload) in more.iter().filter(|it| *it.0 != appended && !found.contains_key(it.0)) {
        assert!(!raw && SOUND.frames.get(position) == Some(payload), "from nowhere: {position}");
    }
    assert!(open(&fs, Vec::new()).is_some_and(|again| again == more), "it was whole, and is not any more");
}
