//! Folders of pictures, one folder per class, as torchvision's `ImageFolder` reads them.
//!
//! ```text
//! root/train/CLASS/**/picture.jpg          for learning
//! root/val/CLASS/…  validation/  test/     for testing, the first that exists
//! root/CLASS/**/picture.jpg                one undivided set, the same for both
//! ```
//! Classes are sorted byte by byte, pictures by folder, then by name; nothing depends on the disk's order.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use residuum_formats::disk;
use sha2::{Digest as _, Sha256};

use crate::dataset::{Dataset, Pictures, Split};
use crate::decode::Limits;
use crate::error::{DataError, Result};

/// torchvision's list and GIF, which this crate also decodes.
const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "gif"];

/// Names of the folder of each split, the first that exists counting.
fn split_names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Test => &["val", "validation", "test"],
    }
}

/// True for a folder that holds `train`, `val`, … or folders with pictures.
pub(crate) fn looks_like(root: &Path) -> bool {
    is_split(root) || classes(root).is_ok_and(|classes| classes.iter().any(|(_, path)| holds_picture(path)))
}

/// The pictures of one split of the folder.
///
/// # Errors
/// When the split is missing, no class or picture is found, or a class has no picture.
pub(crate) fn open(root: &Path, split: Split, limits: &Limits) -> Result<Dataset> {
    let name =
        root.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    read(&folder_of(root, split)?, name.unwrap_or_else(|| "folder".into()), limits)
}

fn is_split(root: &Path) -> bool {
    [Split::Train, Split::Test].iter().flat_map(|&s| split_names(s)).any(|name| root.join(name).is_dir())
}

fn folder_of(root: &Path, split: Split) -> Result<PathBuf> {
    let names = split_names(split);
    match names.iter().map(|name| root.join(name)).find(|path| path.is_dir()) {
        Some(path) => Ok(path),
        None if is_split(root) => {
            let found: Vec<String> = classes(root)?.into_iter().map(|(name, _)| name).collect();
            let (wanted, found) = (names.join("/ or "), found.join(", "));
            Err(DataError::source(
                root,
                format!("expected a folder {wanted}/ for the {split} split, found {found}"),
            ))
        }
        None => Ok(root.into()),
    }
}

fn read(root: &Path, name: String, limits: &Limits) -> Result<Dataset> {
    let (mut names, mut labels, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let mut digest = Sha256::new();
    for (class, folder) in classes(root)? {
        let pictures = pictures(&folder)?;
        if pictures.is_empty() {
            let kinds = EXTENSIONS.join(", ");
            return Err(DataError::source(
                &folder,
                format!("expected pictures of the class ({kinds}), found none; remove the folder or fill it"),
            ));
        }
        for path in pictures {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            digest.update(relative.as_os_str().as_encoded_bytes());
            digest.update(disk::file_len(&path)?.to_le_bytes());
            labels.push(names.len() as u32);
            paths.push(relative);
        }
        names.push(class);
    }
    if names.is_empty() {
        return Err(DataError::source(root, "expected one folder of pictures per class, found no folder"));
    }
    Dataset::new(name, names, labels, Pictures::Files { root: root.into(), paths, limits: *limits }, digest)
}

/// Sub-folders that are not hidden, by name.
fn classes(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = disk::list(root)?.into_iter().filter(|entry| entry.is_dir && !entry.name.starts_with('.'));
    Ok(entries.map(|entry| (entry.name, entry.path)).collect())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

fn holds_picture(folder: &Path) -> bool {
    pictures(folder).is_ok_and(|found| !found.is_empty())
}

/// All pictures below a folder. Links are followed, but no folder is entered twice, so that a loop ends.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_path_buf()];
    let (mut entered, mut found) = (HashSet::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        if !folder.canonicalize().is_ok_and(|real| entered.insert(real)) {
            continue;
        }
        let (inner, files): (Vec<_>, Vec<_>) =
            disk::list(&folder)?.into_iter().partition(|entry| entry.is_dir);
        folders.extend(inner.into_iter().map(|entry| entry.path));
        let files = files.into_iter().map(|entry| entry.path).filter(|path| is_picture(path));
        found.extend(files.map(|path| (folder.clone(), path)));
    }
    found.sort_by(|(a, x), (b, y)| bytes(a).cmp(bytes(b)).then_with(|| bytes(x).cmp(bytes(y))));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if is_picture(&path) {
                ::image::RgbImage::new(3, 2).save_with_format(path, ::image::ImageFormat::Png).unwrap();
            } else {
                std::fs::write(path, "text").unwrap();
            }
        }
    }

    fn names(data: &Dataset) -> Vec<String> {
        (0..data.len())
            .map(|i| Path::new(&data.describe(i)).file_name().unwrap().to_str().unwrap().into())
            .collect()
    }

    #[test]
    fn splits_classes_and_pictures_are_found_in_torchvision_s_order() {
        let root = tempfile::tempdir().unwrap();
        let files =
            ["train/10/b.PNG", "train/10/a/z.jpg", "train/2/x.jpeg", "train/B/1.png", "train/a/1.png"];
        fill(root.path(), &files);
        fill(
            root.path(),
            &["train/10/notes.txt", "train/.hidden/1.png", "train/list.png", "validation/2/v.png"],
        );
        let train = open(root.path(), Split::Train, &Limits::default()).unwrap();
        assert_eq!(train.classes(), ["10", "2", "B", "a"]);
        assert_eq!(names(&train), ["b.PNG", "z.jpg", "x.jpeg", "1.png", "1.png"]);
        assert_eq!((0..5).map(|i| train.label(i)).collect::<Vec<_>>(), [0, 0, 1, 2, 3]);
        let image = train.image(1).unwrap();
        assert_eq!((image.width(), image.height()), (3, 2));
        let test = open(root.path(), Split::Test, &Limits::default()).unwrap();
        assert_eq!((test.classes(), names(&test)), (&["2".to_owned()][..], vec!["v.png".to_owned()]));
        assert_ne!(train.digest(), test.digest());
    }

    #[test]
    fn a_flat_folder_serves_both_splits() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["cat/1.png", "dog/1.png"]);
        let [train, test] =
            [Split::Train, Split::Test].map(|s| open(root.path(), s, &Limits::default()).unwrap());
        assert_eq!((train.len(), train.digest()), (2, test.digest()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = |split| open(root.path(), split, &Limits::default()).unwrap_err().to_string();
        assert!(error(Split::Train).contains("found no folder"));
        fill(root.path(), &["train/cat/1.png", "train/empty/note.txt"]);
        assert!(error(Split::Train).contains("empty"));
        assert!(error(Split::Test).contains("val/ or validation/ or test/"));
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["cat/deep/1.png"]);
        std::os::unix::fs::symlink(root.path().join("cat"), root.path().join("cat/deep/again")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("cat/root")).unwrap();
        assert_eq!(open(root.path(), Split::Train, &Limits::default()).unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_vanishes_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["cat/1.png"]);
        let data = open(root.path(), Split::Train, &Limits::default()).unwrap();
        std::fs::remove_file(root.path().join("cat/1.png")).unwrap();
        assert!(data.image(0).unwrap_err().to_string().contains("1.png"));
        assert_eq!(data.check().len(), 1);
    }
}
