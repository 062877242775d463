use std::time::Duration;

use super::*;
use crate::ErrorKind;

fn names(folder: &Path) -> Vec<String> {
    list(folder).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_failed_writer_leaves_the_old_file_and_no_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_bytes(&path, b"old").unwrap();
    let error = write_atomic(&path, |writer| {
        writer.write_all(&vec![7; 3 * WRITE_BUFFER_BYTES])?;
        Err(io::Error::new(io::ErrorKind::StorageFull, "disk full"))
    })
    .unwrap_err();
    assert_eq!((error.kind(), error.io_kind()), (ErrorKind::Io, Some(io::ErrorKind::StorageFull)));
    assert!(error.to_string().contains("weights"), "{error}");
    assert_eq!(read(&path, 10).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["weights"]);
}

#[test]
fn a_panicking_writer_leaves_the_old_file_and_no_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_bytes(&path, b"old").unwrap();
    let result = std::panic::catch_unwind(|| write_atomic(&path, |_| panic!("writer")));
    assert!(result.is_err());
    assert_eq!(read(&path, 10).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["weights"]);
}

#[test]
fn a_map_of_a_file_outlives_its_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_bytes(&path, b"old").unwrap();
    let mapped = map(&path).unwrap();
    write_bytes(&path, b"newer").unwrap();
    assert_eq!(&*mapped, b"old");
    assert_eq!(&*map(&path).unwrap(), b"newer");
    write_bytes(&path, b"").unwrap();
    assert!(map(&path).unwrap().is_empty());
}

#[test]
fn a_target_that_cannot_be_replaced_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("a");
    create_dir(&inside).unwrap();
    write_bytes(inside.join("file"), b"x").unwrap();
    assert_eq!(write_bytes(&inside, b"x").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(
        write_bytes(inside.join("no/file"), b"x").unwrap_err().io_kind(),
        Some(io::ErrorKind::NotFound)
    );
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn reading_is_bounded_and_only_of_regular_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_bytes(&path, b"12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    assert_eq!(file_len(&path).unwrap(), 5);
    assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(read(folder.path(), 5).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(map(folder.path()).unwrap_err().kind(), ErrorKind::Unsupported);
    let missing = read(folder.path().join("none"), 5).unwrap_err();
    assert_eq!(missing.io_kind(), Some(io::ErrorKind::NotFound));
    write_bytes(&path, b"ab\xff").unwrap();
    assert_eq!(read_text(&path, 5).unwrap_err().place(), "byte 2");
}

#[test]
fn folders_are_made_once_listed_in_order_renamed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run.tmp");
    create_dir(&run).unwrap();
    assert_eq!(create_dir(&run).unwrap_err().io_kind(), Some(io::ErrorKind::AlreadyExists));
    create_dir_all(run.join("a/b")).unwrap();
    create_dir_all(run.join("a/b")).unwrap();
    for name in ["10", "9", "B", "a.txt"] {
        write_bytes(run.join(name), b"").unwrap();
    }
    assert_eq!(names(&run), ["10", "9", "B", "a", "a.txt"]);
    assert!(list(&run).unwrap()[3].is_dir);
    let done = folder.path().join("run");
    rename_dir(&run, &done).unwrap();
    assert!(!exists(&run) && exists(&done));
    create_dir(&run).unwrap();
    assert!(rename_dir(&run, &done).is_err(), "a folder that holds something is never replaced");
    remove_file(done.join("9")).unwrap();
    assert!(!exists(done.join("9")));
    remove_dir(&done).unwrap();
    assert!(!exists(&done));
}

#[test]
fn a_log_keeps_whole_lines_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut log = Appender::open(&path).unwrap();
    log.append("{\"step\":1}").unwrap();
    assert!(log.append("two\nlines").is_err());
    log.sync().unwrap();
    drop(log);

    let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
    torn.write_all(&vec![b'x'; 200_000]).unwrap();
    drop(torn);
    Appender::open(&path).unwrap().append("{\"step\":2}").unwrap();
    assert_eq!(read_text(&path, 1000).unwrap(), "{\"step\":1}\n{\"step\":2}\n");

    write_bytes(&path, b"torn first line").unwrap();
    Appender::open(&path).unwrap();
    assert_eq!(file_len(&path).unwrap(), 0);
}

#[test]
fn a_lock_is_held_by_one_and_seen_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    assert_eq!(is_locked(&path), None, "there is no such file");
    let lock = Lock::acquire(&path, Duration::ZERO).unwrap().unwrap();
    assert_eq!(is_locked(&path), Some(true));
    assert!(Lock::acquire(&path, Duration::from_millis(50)).unwrap().is_none());
    drop(lock);
    assert_eq!(is_locked(&path), Some(false));
    assert!(Lock::acquire(&path, Duration::ZERO).unwrap().is_some());
    assert!(Lock::acquire(folder.path().join("no/lock"), Duration::ZERO).is_err());
}

#[test]
fn a_part_of_a_file_is_read_from_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write_bytes(&path, b"0123456789").unwrap();
    assert_eq!(read_from(&path, 0, 4).unwrap(), b"0123");
    assert_eq!(read_from(&path, 8, 4).unwrap(), b"89");
    assert!(read_from(&path, 20, 4).unwrap().is_empty());
    assert!(read_from(folder.path(), 0, 4).is_err());
    assert_eq!(file_stamp(&path).unwrap().0, 10);
}
