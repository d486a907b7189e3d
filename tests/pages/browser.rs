//! A headless Chromium, a loopback server for it, and the harness that works the page.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long all of it may take before it is called broken.
const PATIENCE: Duration = Duration::from_secs(50);

const HARNESS: &str = include_str!("harness.html");

/// What the harness found, and what the browser asked the server for.
pub struct Seen {
    pub found: serde_json::Value,
    pub requests: Vec<String>,
}

/// The browser, or `None` and a loud line.
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os("NOCLOBBER_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        let known = ["chromium", "chromium-browser", "google-chrome"];
        let places = std::env::split_paths(&path).flat_map(|folder| known.map(|name| folder.join(name)));
        places.into_iter().find(|place| place.is_file())
    });
    if found.is_none() {
        let required = std::env::var("NOCLOBBER_REQUIRE_SERVERS").is_ok_and(|v| v != "0" && !v.is_empty());
        assert!(!required, "no Chromium was found, and NOCLOBBER_REQUIRE_SERVERS is on; install chromium");
        eprintln!("SKIPPED: no Chromium was found; install chromium");
    }
    found
}

fn chromium(browser: &Path, folder: &Path) -> Command {
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--window-size=1400,1000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .env("HOME", folder)
        // Its helpers end with it: they are one group.
        .process_group(0)
        .stderr(Stdio::null());
    command
}

/// Ends a browser and its helpers, on every way out.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Lets the harness work a page: `script` is what its reader does there.
pub fn work(browser: &Path, folder: &Path, page: &str, script: &str) -> Seen {
    let harness = HARNESS.replace("/*WORK*/", script);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let page = page.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (harness, page, tell) = (harness.clone(), page.clone(), tell.clone());
            std::thread::spawn(move || serve(&stream.unwrap(), &harness, &page, &tell));
        }
    });
    let child = chromium(browser, folder).arg(format!("http://{address}/harness")).stdout(Stdio::null()).spawn();
    let _running = Running(child.unwrap());
    let mut requests = Vec::new();
    loop {
        let (request, body) = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer after {requests:?}"));
        let is_last = request == "POST /found";
        requests.push(request);
        if is_last {
            return Seen { found: serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")), requests };
        }
    }
}

fn serve(stream: &TcpStream, harness: &str, page: &str, tell: &mpsc::Sender<(String, String)>) {
    let mut from = BufReader::new(stream);
    let mut first = String::new();
    if from.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let request = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).unwrap();
    let (status, answer) = match request.as_str() {
        "GET /harness" => ("200 OK", harness),
        "GET /page" => ("200 OK", page),
        "POST /found" => ("200 OK", ""),
        _ => ("404 Not Found", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    let mut to = stream;
    // The browser may be gone by then.
    let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(answer.as_bytes()));
    let _ = tell.send((request, String::from_utf8(body).unwrap()));
}

impl Seen {
    /// What was asked of the server beside the harness's own needs.
    pub fn foreign(&self) -> Vec<&str> {
        let own = ["GET /harness", "GET /page", "POST /found"];
        self.requests.iter().map(String::as_str).filter(|request| !own.contains(request)).collect()
    }
}

/// What the browser makes of a file.
pub fn dump(browser: &Path, folder: &Path, page: &str) -> String {
    let path = folder.join("page.html");
    std::fs::write(&path, page).unwrap();
    let mut command = chromium(browser, folder);
    let child = command.arg("--dump-dom").arg(format!("file://{}", path.display())).stdout(Stdio::piped()).spawn();
    let mut running = Running(child.unwrap());
    let mut text = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    text
}
