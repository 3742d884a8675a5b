//! A server of HTTP/1.1 for one test: an answer for each request, and a record of all of them.
//!
//! One connection, one request, one thread; it is for a few clients on this machine that behave. It ends when it is dropped.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a client may take to send a request or take an answer; a client that hangs would otherwise hold the test for ever.
const CLIENT_SECONDS_MAX: u64 = 60;

/// A request without a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path as it was sent.
    pub path: String,
    /// What is after the `?`, decoded.
    pub query: BTreeMap<String, String>,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The code.
    pub status: u16,
    /// Headers but for the length.
    pub headers: Vec<(&'static str, String)>,
    /// The body; of a HEAD only its length is sent.
    pub body: Vec<u8>,
}

impl Response {
    /// One that says what it holds.
    #[must_use]
    pub fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response { status, headers: vec![("content-type", media_type.to_owned())], body: body.into() }
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// A server that listens.
pub struct Server {
    addr: SocketAddr,
    log: Arc<Mutex<Vec<(Request, u16)>>>,
    ended: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let addr = listener.local_addr()?;
        let (log, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer: Arc<Answer> = Arc::new(answer);
        let of_thread = (log.clone(), ended.clone());
        let running = thread::spawn(move || {
            let (log, ended) = of_thread;
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, log) = (answer.clone(), log.clone());
                thread::spawn(move || {
                    if let Err(error) = serve(&stream, &*answer, &log) {
                        eprintln!("a client was not answered: {error:#}");
                    }
                });
            }
        });
        Ok(Server { addr, log, ended, running: Some(running) })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All requests so far, and with which code each was answered.
    #[must_use]
    pub fn log(&self) -> Vec<(Request, u16)> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // It wakes up for a connection only.
        drop(TcpStream::connect(self.addr));
        if let Some(running) = self.running.take() {
            drop(running.join());
        }
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, log: &Mutex<Vec<(Request, u16)>>) -> anyhow::Result<()> {
    let patience = Some(Duration::from_secs(CLIENT_SECONDS_MAX));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let request = read(&mut BufReader::new(stream))?;
    let response = answer(&request);
    log.lock().unwrap_or_else(PoisonError::into_inner).push((request.clone(), response.status));
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", response.status);
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", response.body.len());
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&response.body)?;
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> anyhow::Result<Request> {
    let mut line = || -> anyhow::Result<String> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = words.next().zip(words.next()).with_context(|| format!("no request: {first:?}"))?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect(),
        headers: BTreeMap::new(),
    };
    loop {
        let header = line()?;
        if header.is_empty() {
            return Ok(request);
        }
        let (name, value) = header.split_once(':').with_context(|| format!("no header: {header:?}"))?;
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// The text behind `%` escapes and the `+` that Readium's reader sends for a space when it renews, though not when it registers.
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| hex::decode(digits).ok()).map(|byte| byte[0]);
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
