//! `residuum watch` and `train --watch` as processes: what a browser or a program gets, and what it does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const EXE: &str = env!("CARGO_BIN_EXE_residuum");
const LONGEST: Duration = Duration::from_mins(2);

fn residuum(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(EXE);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server and its host and port.
struct Site {
    process: Process,
    address: String,
}

impl Site {
    fn watching(folder: &Path, paths: &[&str]) -> Self {
        let arguments = [&["watch", "--port", "0"], paths].concat();
        let mut process = Process(residuum(folder, &arguments).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: address(&line), process }
    }

    /// Status and body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn ask(&self, request: &str) -> (u16, String) {
        let (status, _, body) = self.exchange(request);
        (status, body)
    }

    /// Status, head and body.
    fn exchange(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            status.unwrap_or_else(|| panic!("no answer: {answer:?}")),
            head.to_ascii_lowercase(),
            body.to_owned(),
        )
    }

    /// The run of an id in the list.
    fn run(&self, id: &str) -> Option<Value> {
        let list = self.json("/api/runs");
        list["runs"].as_array().unwrap().iter().find(|run| run["id"] == id).cloned()
    }

    fn wait_for(&self, what: &str, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            match self.run(id) {
                Some(run) if is_there(&run) => return run,
                seen => assert!(begun.elapsed() < LONGEST, "{what}: {seen:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn address(text: &str) -> String {
    let url = text.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// A run on the embedded data that takes as long as the test lets it.
const ENDLESS: [&str; 8] =
    ["train", "shapes", "--model", "cifar_resnet8", "--recipe", "short", "--epochs", "1000"];

fn train(folder: &Path, more: &[&str]) -> Process {
    Process(residuum(folder, &[&ENDLESS[..], more].concat()).spawn().unwrap())
}

/// A whole run on a few pictures.
fn write_data(folder: &Path) {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let record =
        |i: u8| std::iter::once(i % 2).chain((0..3072u32).map(move |p| (p % 64) as u8 + 128 * (i % 2)));
    let records: Vec<u8> = (0..16).flat_map(record).collect();
    for name in (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]) {
        std::fs::write(data.join(name), &records).unwrap();
    }
}

const SMALL: [&str; 10] =
    ["train", "data", "--model", "cifar_resnet8", "--recipe", "short", "--batch-size", "8", "--epochs", "2"];

#[test]
fn a_run_is_seen_going_on_and_then_stopped_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("runs")).unwrap();
    let site = Site::watching(folder.path(), &[]);
    assert_eq!(site.json("/api/runs")["runs"], Value::Array(Vec::new()));

    let mut training = train(folder.path(), &["--output", "runs/one"]);
    let first = site.wait_for("a first step", "one", |run| run["step"].as_u64() > Some(0));
    assert_eq!((&first["state"], &first["model"]), (&"running".into(), &"cifar_resnet8".into()));
    assert_eq!(first["plan"]["epochs"], 1000);
    let later = site.wait_for("further steps", "one", |run| run["step"].as_u64() > first["step"].as_u64());
    assert_ne!(first["revision"], later["revision"]);
    let report = site.json("/api/runs/one");
    assert_eq!((&report["schema"], &report["version"]), (&"residuum.watch.run".into(), &1.into()));
    for column in ["step", "loss", "error", "lr", "images_per_second", "wall_s"] {
        assert!(!report["steps"][column].as_array().unwrap().is_empty(), "{column}");
    }

    training.0.kill().unwrap();
    training.0.wait().unwrap();
    let killed = site.run("one").unwrap();
    assert_eq!(killed["state"], "stopped");
    assert!(killed["reason"].as_str().unwrap().contains("without a word"), "{killed}");

    let mut training = Process(residuum(folder.path(), &["train", "--resume", "runs/one"]).spawn().unwrap());
    site.wait_for("the run to go on", "one", |run| run["state"] == "running");
    let second = residuum(folder.path(), &["train", "--resume", "runs/one"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "one process trains");
    assert!(String::from_utf8_lossy(&second.stderr).contains("trains here already"));
    training.0.kill().unwrap();
}

#[test]
fn ended_runs_stand_side_by_side_with_all_that_was_found() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let runs = [("runs/good", None, 0), ("runs/bad", Some("1e30"), 4)];
    for (name, lr, code) in runs {
        let lr: Vec<&str> = lr.iter().flat_map(|lr| ["--lr", lr]).collect();
        let arguments = [&SMALL[..], &["--output", name], &lr].concat();
        assert_eq!(residuum(folder.path(), &arguments).output().unwrap().status.code(), Some(code), "{name}");
    }
    let site = Site::watching(folder.path(), &["runs"]);
    let states: Vec<Value> =
        site.json("/api/runs")["runs"].as_array().unwrap().iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["finished", "diverged"]);
    let report = site.json("/api/runs/good");
    assert_eq!(report["epochs"].as_array().unwrap().len(), 2);
    assert_eq!(report["responses"]["layers"].as_array().unwrap().len(), 7);
    let evaluation = &site.json("/api/runs/good/evaluation")["evaluation"];
    assert_eq!((&evaluation["epoch"], &evaluation["images"]), (&2.into(), &16.into()));
    assert_eq!(site.get("/api/runs/bad/evaluation").0, 404);

    // The same page as a file, with the data in it.
    let page = std::fs::read_to_string(folder.path().join("runs/good/report.html")).unwrap();
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let embedded: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&embedded["run"]["state"], &embedded["run"]["epochs"]),
        (&"finished".into(), &report["epochs"])
    );
    assert_eq!(&embedded["evaluation"], evaluation);
}

#[test]
fn foreign_names_other_methods_and_paths_get_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("runs")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let site = Site::watching(folder.path(), &["runs"]);
    let (status, head, page) =
        site.exchange(&format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.address));
    assert!(status == 200 && page.starts_with("<!doctype html>") && page.contains("Content-Security-Policy"));
    for header in
        ["x-content-type-options: nosniff", "cache-control: no-store", "frame-ancestors 'none'", "text/html"]
    {
        assert!(head.contains(header), "{header}: {head}");
    }
    for path in [
        "/secret",
        "/../secret",
        "/..%2fsecret",
        "/api/runs/..%2f..%2fsecret",
        "/api/runs/../../secret",
        "/api/runs/%2e%2e",
        "/api/runs//etc/passwd",
        "/api/runs/%2Fetc%2Fpasswd",
        "/api/runs/..%2fsecret/evaluation",
        "/api/runs/%00",
        "/api/runs/.",
        "/api/runs/%ff",
        "/runs",
        "/report.html",
    ] {
        let (status, body) = site.get(path);
        assert!(
            (400..500).contains(&status) && !body.contains("secret\n") && body != "secret",
            "{path}: {status} {body}"
        );
    }
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        assert_eq!(
            site.ask(&format!("GET /api/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).0,
            421,
            "{host}"
        );
    }
    assert_eq!(site.ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0, 400);
    for method in ["POST", "DELETE", "PUT"] {
        let request = format!(
            "{method} /api/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(site.ask(&request).0, 405, "{method}");
    }
    let many = "X-Y: 1\r\n".repeat(200);
    let long = "x".repeat(64 << 10);
    for headers in [many, format!("X: {long}\r\n")] {
        let (status, _) =
            site.ask(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"));
        assert_eq!(status, 431);
    }
}

#[test]
fn slow_clients_delay_nobody_and_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("runs")).unwrap();
    let site = Site::watching(folder.path(), &["runs"]);
    let mut slow: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&site.address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HT").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(site.get("/api/runs").0, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    slow[0].set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut rest = Vec::new();
    slow[0].read_to_end(&mut rest).expect("the server ends it");
}

#[test]
fn a_training_process_shows_itself_and_leaves_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = train(folder.path(), &["--output", "mine", "--watch"]);
    let lines = BufReader::new(training.0.stderr.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains("http://")).unwrap();
    let site = Site { process: training, address: address(&line) };
    site.wait_for("steps", "mine", |run| run["step"].as_u64() > Some(1) && run["state"] == "running");
    let Site { mut process, .. } = site;
    interrupt(&process.0);
    assert_eq!(process.0.wait().unwrap().code(), Some(130));
    let page = std::fs::read_to_string(folder.path().join("mine/report.html")).unwrap();
    assert!(page.contains("stopped and saved after step"));
}

#[test]
fn ctrl_c_stops_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::watching(folder.path(), &["."]);
    assert_eq!(site.get("/").0, 200);
    let _idle = TcpStream::connect(&site.address).unwrap();
    interrupt(&site.process.0);
    let begun = Instant::now();
    assert_eq!(site.process.0.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(&site.address).is_err());
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The page as a browser shows it, and what it had to complain about.
fn browse(url: &str) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                   --disable-component-update --disable-sync --enable-logging=stderr --window-size=1400,900 \
                   --virtual-time-budget=4000 --dump-dom";
    let output = Command::new("chromium")
        .args(options.split_whitespace())
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .expect("chromium is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = complaints.lines().filter(|line| line.contains("CONSOLE")).collect();
    (String::from_utf8(output.stdout).unwrap(), complaints.join("\n"))
}

/// What is drawn of the curves.
fn curves(page: &str) -> Vec<&str> {
    page.split("<path d=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
#[ignore = "needs chromium"]
fn browser_shows_curves_that_move_and_the_report_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let whole =
        residuum(folder.path(), &[&SMALL[..], &["--output", "runs/whole"]].concat()).output().unwrap();
    assert!(whole.status.success());
    let report = folder.path().join("runs/whole/report.html");
    let (page, complaints) = browse(&format!("file://{}", report.display()));
    assert_eq!(complaints, "");
    for part in ["finished", "Confusion matrix", "class=\"matrix\"", "report of a run"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        curves(&page).len() >= 6 && curves(&page).iter().all(|path| path.starts_with('M')),
        "{:?}",
        curves(&page)
    );

    let site = Site::watching(folder.path(), &["runs"]);
    let training = train(folder.path(), &["--output", "runs/going"]);
    site.wait_for("steps", "going", |run| run["step"].as_u64() > Some(2));
    let url = format!("http://{}/", site.address);
    let (before, complaints) = browse(&url);
    let (after, more) = browse(&url);
    assert_eq!(complaints + &more, "");
    assert!(before.contains(">running<") && before.contains(">finished<"));
    assert_ne!(curves(&before), curves(&after), "curves move");
    drop(training);
    assert!(browse(&url).0.contains("without a word"), "a killed run");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let site = Site::watching(folder.path(), &["."]);
    let port = site.address.rsplit(':').next().unwrap();
    for (arguments, code, named) in [
        (vec!["watch"], 2, "runs"),
        (vec!["watch", "file"], 2, "a file"),
        (vec!["watch", ".", "--port", "66000"], 2, "66000"),
        (vec!["watch", ".", "--host", "not a host"], 2, "not a host"),
        (vec!["watch", ".", "--port", port], 3, "--port 0"),
        (vec!["train", "--watch=8015"], 2, "HOST:PORT"),
    ] {
        let output = residuum(folder.path(), &arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(named) && text.trim_end().lines().count() == 1, "{arguments:?}: {text}");
    }
}
