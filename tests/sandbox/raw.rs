//! Requests that no SDK would send, signed by hand (SigV4), and their answers as bytes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::support::World;

pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'a str, String)>,
    /// The `x-amz-content-sha256` header.
    pub payload: &'a str,
    pub body: &'a [u8],
}

/// Sends one request on its own connection; the answer is its status and the rest as text. Empty when there is none.
pub async fn send(world: &World, request: Request<'_>) -> (u16, String) {
    let address = world.sandbox.endpoint().trim_start_matches("http://").to_owned();
    let bytes = sign(&request, &address, world.sandbox.access_key(), world.sandbox.secret_key());
    exchange(address, bytes).await
}

/// Sends all but the last `missing` bytes of the body, and no more.
pub async fn send_cut(world: &World, request: Request<'_>, missing: usize) -> (u16, String) {
    let address = world.sandbox.endpoint().trim_start_matches("http://").to_owned();
    let mut bytes = sign(&request, &address, world.sandbox.access_key(), world.sandbox.secret_key());
    bytes.truncate(bytes.len() - missing);
    talk(address, bytes, true).await
}

pub async fn exchange(address: String, bytes: Vec<u8>) -> (u16, String) {
    talk(address, bytes, false).await
}

async fn talk(address: String, bytes: Vec<u8>, goes_away: bool) -> (u16, String) {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may have answered and gone before it took everything.
        let _ = stream.write_all(&bytes);
        if goes_away {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, answer)
    })
    .await
    .unwrap()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::digest([block.map(|b| b ^ 0x36).as_slice(), text.as_bytes()].concat());
    Sha256::digest([block.map(|b| b ^ 0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

fn sign(request: &Request<'_>, host: &str, access_key: &str, secret_key: &str) -> Vec<u8> {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap();
    let (date, stamp) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
    let mut headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    headers.push(("host".to_owned(), host.to_owned()));
    headers.push(("x-amz-content-sha256".to_owned(), request.payload.to_owned()));
    headers.push(("x-amz-date".to_owned(), stamp.clone()));
    headers.sort();
    let mut canonical = format!("{}\n{}\n\n", request.method, request.path);
    for (name, value) in &headers {
        writeln!(canonical, "{name}:{value}").unwrap();
    }
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    write!(canonical, "\n{names}\n{}", request.payload).unwrap();
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
    let mut key = hmac(format!("AWS4{secret_key}").as_bytes(), &date);
    for step in ["us-east-1", "s3", "aws4_request"] {
        key = hmac(&key, step);
    }
    let signature = hex::encode(hmac(&key, &to_sign));
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(
        head,
        "authorization: AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}\r\n"
    )
    .unwrap();
    write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()).unwrap();
    [head.as_bytes(), request.body].concat()
}
