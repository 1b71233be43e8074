//! What was written, in order, and what a power cut may leave of it.
//!
//! The model of the disk is the least that POSIX promises. What a sync of a file covered is there.
//! Of what was written since, any part may be there, in any order, each sector of 512 bytes for
//! itself; where a file had grown, a hole or another file's old bytes may be in the place of what
//! was not written. A name that was made or removed is surely so only after a sync of the folder.
//! One thing is taken for granted, as SQLite takes it: a write does not change bytes beside it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

/// The unit in which a disk writes.
const SECTOR: u64 = 512;

/// A file, whatever it is called, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(usize);

/// One thing that was done to the disk.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create {
        file: FileId,
        name: String,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Arc<[u8]>,
    },
    Truncate {
        file: FileId,
        size: u64,
    },
    Sync {
        file: FileId,
        /// Whether the folder was synced with it.
        folder: bool,
    },
    Delete {
        name: String,
        folder: bool,
    },
    /// Something that whoever records wants to find again at this place.
    Mark(u64),
}

/// A recording.
#[derive(Debug, Default)]
pub struct Log {
    operations: Vec<Operation>,
    names: HashMap<String, FileId>,
    files: usize,
}

impl Log {
    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// A file was opened. One that is not known was just created, empty.
    pub(crate) fn opened(&mut self, path: &Path) -> FileId {
        let name = name_of(path);
        if let Some(&known) = self.names.get(&name) {
            return known;
        }
        let file = FileId(self.files);
        self.files += 1;
        self.names.insert(name.clone(), file);
        self.push(Operation::Create { file, name });
        file
    }

    pub(crate) fn deleted(&mut self, path: &Path, folder: bool) {
        let name = name_of(path);
        self.names.remove(&name);
        self.push(Operation::Delete { name, folder });
    }

    /// How many operations were recorded, marks included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The marks, in order.
    #[must_use]
    pub fn marks(&self) -> Vec<u64> {
        let marks = self
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Mark(mark) => Some(*mark),
                _ => None,
            });
        marks.collect()
    }

    /// States in which a power cut may leave the disk: after every operation, up to `variants` each,
    /// none of them twice.
    pub fn crash_states(
        &self,
        seed: u64,
        variants: usize,
    ) -> impl Iterator<Item = CrashState> + '_ {
        let mut drive = Drive::new(self.files);
        let mut rng = Rng::with_seed(seed);
        let mut known = HashSet::new();
        let mut marks = 0;
        self.operations
            .iter()
            .enumerate()
            .flat_map(move |(at, operation)| {
                let mut states = Vec::new();
                if matches!(operation, Operation::Mark(_)) {
                    marks += 1;
                } else {
                    drive.apply(at, operation);
                }
                for loss in drive.losses(&mut rng, variants) {
                    let image = drive.image(&loss);
                    // The same files mean another thing after another mark.
                    if known.insert((image.fingerprint(), marks)) {
                        states.push(CrashState {
                            at,
                            marks,
                            loss,
                            image,
                        });
                    }
                }
                states
            })
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What a power cut left.
#[derive(Debug)]
pub struct CrashState {
    /// After how many operations of the log, counted from 0, the power was cut.
    pub at: usize,
    /// How many marks were set by then.
    pub marks: usize,
    /// What was lost.
    pub loss: Loss,
    /// What is there.
    pub image: Image,
}

/// The files of a folder.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    /// Names and contents.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Which of the changes that were not synced a power cut loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// All of them.
    Everything,
    /// None.
    Nothing,
    /// All but the first so many, and of the last of those the sectors from one on.
    Tail {
        /// How many are kept.
        kept: usize,
        /// How many sectors of the last one are.
        sectors: u64,
    },
    /// Any, each whole.
    Changes {
        /// Decides which.
        seed: u64,
    },
    /// Any sectors.
    Sectors {
        /// Decides which.
        seed: u64,
        /// Of 100, how many are kept.
        kept: u8,
    },
    /// All changes to the files of one name.
    OneFile {
        /// The file.
        name: String,
    },
    /// All but those to the files of one name.
    OtherFiles {
        /// The file.
        name: String,
    },
}

/// A change of which the disk has promised nothing.
#[derive(Debug, Clone)]
struct Pending {
    /// Its place in the log.
    at: usize,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, data: Arc<[u8]> },
    Truncate { size: u64 },
}

#[derive(Debug, Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Naming {
    Made(String, FileId),
    Removed(String),
}

/// A disk, as far as it has come through a log.
#[derive(Debug)]
struct Drive {
    files: Vec<Contents>,
    names: BTreeMap<String, FileId>,
    pending_names: Vec<(usize, Naming)>,
    /// What each file was last called.
    called: HashMap<FileId, String>,
}

impl Drive {
    fn new(files: usize) -> Self {
        Self {
            files: vec![Contents::default(); files],
            names: BTreeMap::new(),
            pending_names: Vec::new(),
            called: HashMap::new(),
        }
    }

    fn apply(&mut self, at: usize, operation: &Operation) {
        let mut pend =
            |file: FileId, change| self.files[file.0].pending.push(Pending { at, change });
        match operation {
            Operation::Create { file, name } => {
                self.called.insert(*file, name.clone());
                let made = Naming::Made(name.clone(), *file);
                self.pending_names.push((at, made));
            }
            Operation::Write { file, offset, data } => pend(
                *file,
                Change::Write {
                    offset: *offset,
                    data: Arc::clone(data),
                },
            ),
            Operation::Truncate { file, size } => pend(*file, Change::Truncate { size: *size }),
            Operation::Sync { file, folder } => {
                let Contents { durable, pending } = &mut self.files[file.0];
                for Pending { change, .. } in pending.drain(..) {
                    change.apply(durable, |_| true, 0);
                }
                if *folder {
                    self.sync_names();
                }
            }
            Operation::Delete { name, folder } => {
                self.pending_names.push((at, Naming::Removed(name.clone())));
                if *folder {
                    self.sync_names();
                }
            }
            Operation::Mark(_) => {}
        }
    }

    fn sync_names(&mut self) {
        for (_, naming) in self.pending_names.drain(..) {
            naming.apply(&mut self.names);
        }
    }

    /// Ways to lose what is pending, the telling ones first; one where nothing is.
    fn losses(&self, rng: &mut Rng, variants: usize) -> Vec<Loss> {
        let places = self.places();
        if places.is_empty() {
            return vec![Loss::Nothing];
        }
        let names: BTreeSet<&String> = self
            .called
            .iter()
            .filter(|(file, _)| !self.files[file.0].pending.is_empty())
            .map(|(_, name)| name)
            .collect();
        let mut losses = vec![Loss::Everything, Loss::Nothing];
        if names.len() > 1 {
            for name in names {
                losses.push(Loss::OneFile { name: name.clone() });
                losses.push(Loss::OtherFiles { name: name.clone() });
            }
        }
        let mut further = 0;
        while losses.len() < variants {
            losses.push(match further % 4 {
                0 => Loss::Tail {
                    kept: rng.usize(1..=places.len()),
                    sectors: rng.u64(0..9),
                },
                1 => Loss::Changes { seed: rng.u64(..) },
                _ => Loss::Sectors {
                    seed: rng.u64(..),
                    kept: [5, 50, 95][rng.usize(..3)],
                },
            });
            further += 1;
        }
        losses.truncate(variants);
        losses
    }

    /// The places in the log of all that is pending, in order.
    fn places(&self) -> Vec<usize> {
        let changes = self.files.iter().flat_map(|file| &file.pending);
        let mut places: Vec<usize> = changes
            .map(|pending| pending.at)
            .chain(self.pending_names.iter().map(|(at, _)| *at))
            .collect();
        places.sort_unstable();
        places
    }

    fn image(&self, loss: &Loss) -> Image {
        let places = self.places();
        // Whether the disk has a sector of the change at a place in the log.
        let mut rng = Rng::with_seed(0);
        if let Loss::Changes { seed } | Loss::Sectors { seed, .. } = loss {
            rng = Rng::with_seed(*seed);
        }
        // What stands where a file has grown and nothing was written: a hole, or old bytes.
        let fill = if rng.bool() { 0 } else { 0xa5 };
        let kept_changes: HashSet<usize> = match loss {
            Loss::Tail { kept, .. } => places.iter().copied().take(*kept).collect(),
            Loss::Changes { .. } => places.iter().copied().filter(|_| rng.bool()).collect(),
            _ => HashSet::new(),
        };
        let torn = match loss {
            Loss::Tail { kept, .. } => places.get(kept.saturating_sub(1)).copied(),
            _ => None,
        };
        let mut survives = |name: Option<&str>, at: usize, sector: u64| match loss {
            Loss::Everything => false,
            Loss::Nothing => true,
            Loss::Tail { sectors, .. } => {
                kept_changes.contains(&at) && (torn != Some(at) || sector < *sectors)
            }
            Loss::Changes { .. } => kept_changes.contains(&at),
            Loss::Sectors { kept, .. } => rng.u8(..100) < *kept,
            Loss::OneFile { name: excluded } => name != Some(excluded),
            Loss::OtherFiles { name: only } => name == Some(only),
        };

        let mut names = self.names.clone();
        for (at, naming) in &self.pending_names {
            if survives(Some(naming.name()), *at, 0) {
                naming.apply(&mut names);
            }
        }
        let mut image = Image::default();
        for (name, file) in names {
            let Contents { durable, pending } = &self.files[file.0];
            let mut contents = durable.clone();
            for Pending { at, change } in pending {
                let called = self.called.get(&file).map(String::as_str);
                change.apply(&mut contents, |sector| survives(called, *at, sector), fill);
            }
            image.files.insert(name, contents);
        }
        image
    }
}

impl Naming {
    fn name(&self) -> &str {
        match self {
            Self::Made(name, _) | Self::Removed(name) => name,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Made(name, file) => names.insert(name.clone(), *file),
            Self::Removed(name) => names.remove(name),
        };
    }
}

impl Change {
    /// Carries out those parts that `keeps` says yes to, by the number of the sector within the
    /// change.
    fn apply(&self, contents: &mut Vec<u8>, mut keeps: impl FnMut(u64) -> bool, fill: u8) {
        match self {
            Self::Truncate { size } => {
                if keeps(0) {
                    contents.resize(usize::try_from(*size).unwrap_or(usize::MAX), 0);
                }
            }
            Self::Write { offset, data } => {
                let end = offset + data.len() as u64;
                let (first, last) = (offset / SECTOR, (end.max(1) - 1) / SECTOR);
                for sector in first..=last {
                    if !keeps(sector - first) {
                        continue;
                    }
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(end);
                    let [from_at, to_at, begin] = [from, to, *offset]
                        .map(|place| usize::try_from(place).unwrap_or(usize::MAX));
                    if contents.len() < to_at {
                        contents.resize(to_at, fill);
                    }
                    contents[from_at..to_at].copy_from_slice(&data[from_at - begin..to_at - begin]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: FileId, offset: u64, byte: u8, length: usize) -> Operation {
        Operation::Write {
            file,
            offset,
            data: vec![byte; length].into(),
        }
    }

    /// What may be left of the file after all of the log.
    fn contents(log: &mut Log, variants: usize) -> BTreeSet<Option<Vec<u8>>> {
        // No state comes twice but after a mark.
        log.push(Operation::Mark(0));
        let last = log.len() - 1;
        log.crash_states(1, variants)
            .filter(|state| state.at == last)
            .map(|state| state.image.files.get("a").cloned())
            .collect()
    }

    /// A file with a synced page and, since then, `unsynced`.
    fn log_with(unsynced: impl IntoIterator<Item = Operation>) -> Log {
        let mut log = Log::default();
        let file = log.opened(Path::new("/x/a"));
        log.push(write(file, 0, 1, 1_024));
        log.push(Operation::Sync { file, folder: true });
        for operation in unsynced {
            log.push(operation);
        }
        log
    }

    #[test]
    fn what_was_synced_is_there_whatever_is_lost() {
        let mut log = log_with([write(FileId(0), 1_024, 2, 1_024)]);
        let states = contents(&mut log, 50);
        assert!(states.len() > 3);
        for state in states {
            assert_eq!(state.unwrap()[..1_024], [1; 1_024]);
        }
    }

    #[test]
    fn every_sector_of_what_was_not_synced_is_lost_for_itself() {
        let mut log = log_with([write(FileId(0), 0, 2, 1_024)]);
        let expected: BTreeSet<_> = [[1, 1], [1, 2], [2, 1], [2, 2]]
            .map(|[a, b]| Some([[a; 512], [b; 512]].concat()))
            .into();
        assert!(contents(&mut log, 50) == expected);
    }

    #[test]
    fn a_later_write_may_be_there_without_an_earlier_one() {
        let mut log = log_with([write(FileId(0), 0, 2, 512), write(FileId(0), 512, 3, 512)]);
        let reordered = Some([[1; 512], [3; 512]].concat());
        assert!(contents(&mut log, 50).contains(&reordered));
    }

    #[test]
    fn bytes_beside_a_write_stay() {
        let mut log = log_with([write(FileId(0), 100, 2, 50)]);
        for state in contents(&mut log, 50) {
            let state = state.unwrap();
            assert_eq!(state[..100], [1; 100]);
            assert_eq!(state[150..], [1; 874]);
        }
    }

    #[test]
    fn a_name_is_sure_after_a_sync_of_the_folder_alone() {
        let mut log = Log::default();
        let file = log.opened(Path::new("/x/a"));
        log.push(write(file, 0, 1, 10));
        log.push(Operation::Sync {
            file,
            folder: false,
        });
        assert_eq!(
            contents(&mut log, 50),
            BTreeSet::from([None, Some(vec![1; 10])])
        );
        log.deleted(Path::new("/x/a"), true);
        assert_eq!(contents(&mut log, 50), BTreeSet::from([None]));
    }

    #[test]
    fn a_removed_file_may_come_back_whole() {
        let mut log = log_with([]);
        log.deleted(Path::new("/x/a"), false);
        assert_eq!(
            contents(&mut log, 50),
            BTreeSet::from([None, Some(vec![1; 1_024])])
        );
    }

    #[test]
    fn marks_are_counted_at_their_place() {
        let log = log_with([Operation::Mark(7), write(FileId(0), 0, 2, 10)]);
        assert_eq!(log.marks(), [7]);
        assert!(
            log.crash_states(1, 5)
                .all(|state| state.marks == usize::from(state.at >= 3))
        );
    }
}
