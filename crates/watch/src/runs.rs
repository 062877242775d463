//! The runs that there are: found below the folders that are watched, known by their ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use residuum_formats::disk::{self, Entry};
use residuum_train::RunFolder;
use residuum_train::report::{RunReader, RunSummary};
use serde::Serialize;

use crate::error::{Result, WatchError};

/// Folders below a watched one that runs are looked for in, so that those of `reproduce` are found.
const DEPTH: usize = 3;
/// Runs that are shown, the first by name from behind: names begin with the date.
const MAX_RUNS: usize = 200;
/// Names that are looked at in search of runs.
const MAX_ENTRIES: usize = 20_000;
/// Time between two searches.
const INTERVAL: Duration = Duration::from_secs(1);

/// A reader of one run, which one request at a time may use.
pub(crate) type Shared = Arc<Mutex<RunReader>>;

/// A run that was found.
#[derive(Clone, Debug)]
struct Known {
    /// Its folder, to be compared while another request reads.
    path: PathBuf,
    reader: Shared,
}

impl Known {
    fn at(path: PathBuf) -> Self {
        let reader = Arc::new(Mutex::new(RunReader::open(RunFolder::at(&path))));
        Self { path, reader }
    }
}

/// The watched folders and what was found below them.
#[derive(Debug)]
pub(crate) struct Runs {
    roots: Vec<PathBuf>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    searched: Option<Instant>,
    runs: BTreeMap<String, Known>,
    /// Runs that are not shown, as there are too many.
    left_out: usize,
}

/// A run in the list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// What it is asked for by.
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) summary: RunSummary,
}

impl Runs {
    /// Looks for runs below these folders, which must be there.
    pub(crate) fn of(roots: Vec<PathBuf>) -> Result<Self> {
        for root in &roots {
            if !root.is_dir() {
                let found = if disk::exists(root) { "a file" } else { "nothing" };
                return Err(WatchError::NoFolder { path: root.clone(), found });
            }
            disk::list(root)?;
        }
        let runs = Self { roots, found: Mutex::default() };
        runs.search();
        Ok(runs)
    }

    /// All runs in short, the last name first, and how many more there are.
    pub(crate) fn list(&self) -> (Vec<Listed>, usize) {
        self.search();
        let (runs, left_out) = {
            let found = lock(&self.found);
            (found.runs.clone(), found.left_out)
        };
        let listed = |(id, run): (String, Known)| Listed { id, summary: lock(&run.reader).summary() };
        (runs.into_iter().rev().map(listed).collect(), left_out)
    }

    /// The reader of a run that was found.
    pub(crate) fn get(&self, id: &str) -> Option<Shared> {
        lock(&self.found).runs.get(id).map(|run| Arc::clone(&run.reader))
    }

    /// How many runs there are.
    pub(crate) fn count(&self) -> usize {
        let found = lock(&self.found);
        found.runs.len() + found.left_out
    }

    fn search(&self) {
        let mut found = lock(&self.found);
        if found.searched.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        let mut ids = BTreeMap::new();
        let mut left = MAX_ENTRIES;
        for root in &self.roots {
            let mut below = Vec::new();
            collect(root, "", DEPTH, &mut left, &mut below);
            for (id, path) in below {
                let id = free_id(&ids, if id.is_empty() { name_of(root) } else { id });
                ids.insert(id, path);
            }
        }
        found.left_out = ids.len().saturating_sub(MAX_RUNS);
        let shown = ids.into_iter().rev().take(MAX_RUNS);
        let mut known = std::mem::take(&mut found.runs);
        found.runs = shown
            .map(|(id, path)| {
                let same = known.remove(&id).filter(|run| run.path == path);
                (id, same.unwrap_or_else(|| Known::at(path)))
            })
            .collect();
        found.searched = Some(Instant::now());
    }
}

/// Runs at or below a folder, with their names from there. What cannot be looked into holds none.
fn collect(folder: &Path, name: &str, depth: usize, left: &mut usize, runs: &mut Vec<(String, PathBuf)>) {
    if RunFolder::at(folder).is_run() {
        runs.push((name.to_owned(), folder.to_owned()));
        return;
    }
    if depth == 0 {
        return;
    }
    for Entry { name: below, path, is_dir } in disk::list(folder).unwrap_or_default() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        if is_dir && !below.starts_with('.') {
            let name = if name.is_empty() { below } else { format!("{name}/{below}") };
            collect(&path, &name, depth - 1, left, runs);
        }
    }
}

/// The id, with a number where two folders that are watched have runs of one name.
fn free_id(taken: &BTreeMap<String, PathBuf>, id: String) -> String {
    if !taken.contains_key(&id) {
        return id;
    }
    let numbered = (2..).map(|i| format!("{id} ({i})"));
    numbered.into_iter().find(|id| !taken.contains_key(id)).unwrap_or_default()
}

fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A reader left by a request that panicked begins anew with its next reading at worst.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_run(path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("recipe.toml"), "").unwrap();
        std::fs::write(path.join("metrics.jsonl"), "").unwrap();
    }

    fn ids(runs: &Runs) -> Vec<String> {
        runs.list().0.into_iter().map(|listed| listed.id).collect()
    }

    #[test]
    fn runs_are_found_below_folders_and_in_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b/runs/c", "b/runs/d", ".hidden", "too/deep/to/be/seen", "a/inside"] {
            make_run(&folder.path().join(name));
        }
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let runs = Runs::of(vec![folder.path().into()]).unwrap();
        assert_eq!(ids(&runs), ["b/runs/d", "b/runs/c", "a"]);
        let runs = Runs::of(vec![folder.path().join("a"), folder.path().join("b/runs")]).unwrap();
        assert_eq!(ids(&runs), ["d", "c", "a"]);
        let twice = Runs::of(vec![folder.path().join("a"), folder.path().join("a")]).unwrap();
        assert_eq!(ids(&twice), ["a (2)", "a"]);
        assert!(runs.get("c").is_some() && runs.get("../c").is_none() && runs.get("").is_none());
    }

    #[test]
    fn new_runs_appear_and_removed_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::of(vec![folder.path().into()]).unwrap();
        assert_eq!(runs.count(), 0);
        make_run(&folder.path().join("new"));
        lock(&runs.found).searched = None;
        assert_eq!(ids(&runs), ["new"]);
        let reader = runs.get("new").unwrap();
        lock(&runs.found).searched = None;
        runs.search();
        assert!(Arc::ptr_eq(&reader, &runs.get("new").unwrap()), "what was read is kept");
        std::fs::remove_dir_all(folder.path().join("new")).unwrap();
        lock(&runs.found).searched = None;
        assert_eq!(ids(&runs), [""; 0]);
    }

    #[test]
    fn of_too_many_runs_the_last_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        (0..MAX_RUNS + 3).for_each(|i| make_run(&folder.path().join(format!("{i:04}"))));
        let runs = Runs::of(vec![folder.path().into()]).unwrap();
        let (listed, left_out) = runs.list();
        assert_eq!((listed.len(), left_out, listed[0].id.as_str()), (MAX_RUNS, 3, "0202"));
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, found) in [(file, "a file"), (folder.path().join("none"), "nothing")] {
            let error = Runs::of(vec![path]).unwrap_err().to_string();
            assert!(error.contains(found) && error.contains("residuum train"), "{error}");
        }
    }
}
