//! Tests through the spool's own API, on a file system that fails on demand.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use rustix::io::Errno;

use super::{
    AppendError, Appender, FsyncPolicy, GroupEncoder, OpenError, Opened, Options, Position, Reader,
    frame::Frame,
    fs::{Entry, Fs as _, fault::FaultFs},
    open_on, segment,
};

mod appending;
mod faults;
mod giving_back;
mod model;
mod real;
mod recovering;
mod reserve;

const DIR: &str = "/spool";

/// Strings items together, each behind its length.
#[derive(Default)]
struct TestEncoder {
    bytes: Vec<u8>,
    panic_on: Option<Vec<u8>>,
    /// What items that start with `+` take beyond their estimate.
    padding: usize,
}

impl GroupEncoder for TestEncoder {
    type Item = Vec<u8>;

    fn item_bytes(item: &Vec<u8>) -> usize {
        item.len()
    }

    fn push(&mut self, item: Vec<u8>) {
        assert_ne!(self.panic_on.as_ref(), Some(&item), "told to panic");
        self.bytes.extend_from_slice(&u32::try_from(item.len()).unwrap().to_le_bytes());
        self.bytes.extend_from_slice(&item);
        if item.starts_with(b"+") {
            self.bytes.resize(self.bytes.len() + self.padding, 0);
        }
    }

    fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

fn items(mut payload: &[u8]) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    while let Some((len, rest)) = payload.split_first_chunk() {
        let (item, rest) = rest.split_at(usize::try_from(u32::from_le_bytes(*len)).unwrap());
        items.push(item.to_vec());
        payload = rest;
    }
    items
}

/// Small segments, so that every test sees several. The last one is large enough to be given back
/// at once.
fn options() -> Options {
    Options { segment_bytes: 400, max_bytes: 1 << 20, reserve_bytes: 0, ..Options::new(PathBuf::from(DIR)) }
}

type Spool = Opened<Vec<u8>>;

fn open_with(fs: &FaultFs, options: Options, min_next: u64) -> Result<Spool, OpenError> {
    open_on(Arc::new(fs.clone()), options, TestEncoder::default(), Position(min_next))
}

fn open(fs: &FaultFs) -> Spool {
    open_with(fs, options(), 0).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn append(appender: &Appender<Vec<u8>>, item: &[u8]) -> Result<Position, AppendError> {
    block_on(appender.append(item.to_vec()))
}

/// Appends with one commit for each.
fn append_each(spool: &Spool, items: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    for item in items {
        append(&spool.appender, item.as_ref()).unwrap();
    }
}

/// Polls once, which puts an append into the queue.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn frames_from(reader: &Reader, from: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = Position(from);
    while let Some(frame) = reader.read_from(at).unwrap() {
        at = frame.next;
        frames.push(frame);
    }
    frames
}

fn items_in(reader: &Reader) -> Vec<Vec<u8>> {
    frames_from(reader, 0).iter().flat_map(|it| items(&it.payload)).collect()
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|it| format!("item {it:04}").into_bytes()).collect()
}

/// The segment files, the oldest first.
fn segments(fs: &FaultFs) -> Vec<Entry> {
    fs.list(Path::new(DIR)).unwrap().into_iter().filter(|it| it.name.ends_with(".seg")).collect()
}

fn segment_path(base: u64) -> PathBuf {
    Path::new(DIR).join(segment::file_name(Position(base)))
}
