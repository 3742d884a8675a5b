//! The gateway's own edge: time limits, shutdown, faults of the cluster as clients see them.

use bytes::Bytes;
use cluster_client::{CallError, WriteError};
use gateway::GatewayConfig;
use harness::memory_cluster::Faults;
use s3_compat::{LocalGateway, Server, python_code};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A program's answer: what it printed.
async fn ask(server: &Server, code: &str) -> anyhow::Result<String> {
    let code = format!("import sys; sys.argv = ['-']\nfrom common import *\n{code}");
    python_code(&code, server).await
}

const SHOW: &str = r#"
def show(call):
    try:
        call()
        print("ok")
    except ClientError as error:
        print(error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_cluster_are_answers_that_clients_retry() -> anyhow::Result<()> {
    let gateway = LocalGateway::start(GatewayConfig::default()).await?;
    let prepare = "S3.create_bucket(Bucket='faults')\nS3.put_object(Bucket='faults', Key='k', Body=b'x' * 10000)";
    ask(&gateway.server, prepare).await?;
    let put = format!("{SHOW}\nshow(lambda: S3.put_object(Bucket='faults', Key='k', Body=b'y' * 10000))");
    let get = format!("{SHOW}\nshow(lambda: S3.get_object(Bucket='faults', Key='k'))");
    for (faults, code, expected) in [
        (Faults { call: Some(CallError::Unavailable), ..Faults::default() }, &put, "503 ServiceUnavailable"),
        (Faults { call: Some(CallError::Unknown), ..Faults::default() }, &put, "503 ServiceUnavailable"),
        (Faults { call: Some(CallError::Unavailable), ..Faults::default() }, &get, "503 ServiceUnavailable"),
        (Faults { write: Some(WriteError::Busy), ..Faults::default() }, &put, "503 SlowDown"),
        (Faults { write: Some(WriteError::NoSpace), ..Faults::default() }, &put, "507 InsufficientStorage"),
        (Faults { lost: true, ..Faults::default() }, &get, "500 InternalError"),
    ] {
        gateway.cluster.set_faults(faults.clone());
        let answer = ask(&gateway.server, code).await?;
        assert_eq!(answer.trim(), expected, "{faults:?}");
    }
    gateway.cluster.set_faults(Faults::default());
    let answer = ask(&gateway.server, "print(S3.get_object(Bucket='faults', Key='k')['Body'].read()[:1])").await?;
    assert_eq!(answer.trim(), "b'x'");
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_is_given_up() -> anyhow::Result<()> {
    let config = GatewayConfig { body_timeout: Duration::from_millis(300), ..GatewayConfig::default() };
    let gateway = LocalGateway::start(config).await?;
    let code = "
S3.create_bucket(Bucket='stalls')
headers = sign('PUT', '/stalls/k', {}, payload='UNSIGNED-PAYLOAD')
lines = ['PUT /stalls/k HTTP/1.1', 'content-length: 100000']
lines += [f'{name}: {value}' for name, value in headers.items() if name[0] != '_']
answer = raw_bytes('\\r\\n'.join(lines).encode() + b'\\r\\n\\r\\n' + b'x' * 1000)
print(answer.status, answer.code, S3.list_objects_v2(Bucket='stalls')['KeyCount'])";
    assert_eq!(ask(&gateway.server, code).await?.trim(), "400 RequestTimeout 0");
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_key() -> anyhow::Result<()> {
    let gateway = LocalGateway::start(GatewayConfig::default()).await?;
    let mut health = TcpStream::connect(gateway.addr).await?;
    health.write_all(b"GET /-/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    health.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed() -> anyhow::Result<()> {
    let config = GatewayConfig { head_timeout: Duration::from_millis(200), ..GatewayConfig::default() };
    let gateway = LocalGateway::start(config).await?;
    for begin in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut silent = TcpStream::connect(gateway.addr).await?;
        silent.write_all(begin.as_bytes()).await?;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "after {begin:?} the connection stayed open");
    }
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_nobody_takes_is_given_up() -> anyhow::Result<()> {
    let config = GatewayConfig { stall_timeout: Duration::from_millis(300), ..GatewayConfig::default() };
    let gateway = LocalGateway::start(config).await?;
    let code = "
S3.create_bucket(Bucket='taken')
S3.put_object(Bucket='taken', Key='k', Body=noise(64 * MIB))
headers = sign('GET', '/taken/k', {})
lines = ['GET /taken/k HTTP/1.1'] + [f'{name}: {value}' for name, value in headers.items() if name[0] != '_']
connection = socket.create_connection((HOST, PORT), timeout=30)
connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
connection.sendall('\\r\\n'.join(lines).encode() + b'\\r\\n\\r\\n')
assert connection.recv(100).startswith(b'HTTP/1.1 200')
print(HOST)
deadline = time.time() + 20
held = True
while held and time.time() < deadline:
    with open('/proc/net/tcp') as table:
        mine = f':{connection.getsockname()[1]:04X} '
        held = any(mine in line.split()[2] + ' ' and line.split()[3] == '01' for line in table if ':' in line)
print('held' if held else 'given up')";
    assert_eq!(ask(&gateway.server, code).await?.split_whitespace().last(), Some("up"));
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_progress_finish_before_the_end_and_idle_connections_do_not_delay_it() -> anyhow::Result<()> {
    let gateway = LocalGateway::start(GatewayConfig::default()).await?;
    let (server, addr) = (gateway.server.clone(), gateway.addr);
    ask(&server, "S3.create_bucket(Bucket='drain')").await?;
    let idle = TcpStream::connect(addr).await?;
    let headers = ask(
        &server,
        "
headers = sign('PUT', '/drain/k', {}, payload='UNSIGNED-PAYLOAD')
print('PUT /drain/k HTTP/1.1')
print('content-length: 10')
for name, value in headers.items():
    if name[0] != '_': print(f'{name}: {value}')",
    )
    .await?;
    let mut upload = TcpStream::connect(addr).await?;
    let head = headers.trim().replace('\n', "\r\n") + "\r\nexpect: 100-continue\r\n\r\n";
    upload.write_all(head.as_bytes()).await?;
    let mut go_on = [0; 25];
    upload.read_exact(&mut go_on).await?;
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "its body is wanted, so it is in progress");
    upload.write_all(b"hello").await?;

    let began = Instant::now();
    let stopping = tokio::spawn(gateway.stop());
    while TcpStream::connect(addr).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "still listening");
        tokio::task::yield_now().await;
    }
    upload.write_all(b"world").await?;
    let mut answer = Vec::new();
    upload.read_to_end(&mut answer).await?;
    let answer = Bytes::from(answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    stopping.await??;
    assert!(began.elapsed() < Duration::from_secs(8), "an idle connection held it up");
    drop(idle);
    Ok(())
}
