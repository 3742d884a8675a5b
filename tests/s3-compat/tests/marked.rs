//! Real clients that know nothing of marks, on buckets that are all marked: they see what they see of any.

use gateway::GatewayConfig;
use gateway_core::Right;
use s3_compat::lcp::{Served, Shop};
use s3_compat::{LocalGateway, Server, python, python_code};

/// A gateway with keys. Both users may read plain bytes.
async fn open() -> (Shop, Served, Server) {
    let shop = Shop::open(|_| ());
    let served = shop.serve().await;
    let system = shop.store.ensure_system_bucket().await.expect("made");
    shop.cluster.mark_all_but(system.id);
    let (key, other) = (served.staff.clone(), served.nobody.clone());
    for user in [&key.user, &other.user] {
        shop.store.grant(user, &Right::PlainRead(None)).await.expect("granted");
    }
    let server = Server { endpoint: format!("http://{}", served.addr), key, other };
    (shop, served, server)
}

async fn run(program: &str) -> anyhow::Result<()> {
    let (shop, _served, server) = open().await;
    python(program, &server).await?;
    let bytes: u64 = shop.cluster.everything().iter().map(|bytes| bytes.len() as u64).sum();
    assert!(bytes > 100_000, "it has stored something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_marked_buckets() -> anyhow::Result<()> {
    run("objects.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_marked_buckets() -> anyhow::Result<()> {
    run("listing.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_to_marked_buckets() -> anyhow::Result<()> {
    run("multipart.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_to_marked_buckets() -> anyhow::Result<()> {
    run("bad_input.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_on_marked_buckets() -> anyhow::Result<()> {
    run("cli.py").await
}

/// Says how each request for the object `k` of the bucket `books` ends.
const ENDS: &str = r#"
def ends(what, call):
    try:
        call()
        print(what, "ok")
    except ClientError as error:
        print(what, error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
ends("put", lambda: S3.put_object(Bucket="books", Key="new", Body=b"text"))
ends("get", lambda: S3.get_object(Bucket="books", Key="k"))
ends("range", lambda: S3.get_object(Bucket="books", Key="k", Range="bytes=1-2"))
ends("copy", lambda: S3.copy_object(Bucket="books", Key="copy", CopySource="books/k"))
ends("upload", lambda: S3.create_multipart_upload(Bucket="books", Key="parts"))
ends("head", lambda: S3.head_object(Bucket="books", Key="k"))
ends("list", lambda: S3.list_objects_v2(Bucket="books"))
"#;

async fn ask(server: &Server, code: &str) -> anyhow::Result<String> {
    python_code(&format!("import sys; sys.argv = ['-']\nfrom common import *\n{code}"), server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_in_the_way() -> anyhow::Result<()> {
    let (shop, _served, server) = open().await;
    ask(&server, "S3.create_bucket(Bucket='books')\nS3.put_object(Bucket='books', Key='k', Body=b'text')").await?;
    let all = "put ok\nget ok\nrange ok\ncopy ok\nupload ok\nhead ok\nlist ok";
    assert_eq!(ask(&server, ENDS).await?.trim(), all);

    // A gateway without keys.
    let keyless =
        LocalGateway::over(shop.cluster.clone(), GatewayConfig::default(), server.key.clone(), server.other.clone())
            .await?;
    let expected = "put 503 ServiceUnavailable\nget 503 ServiceUnavailable\nrange 503 ServiceUnavailable\n\
                    copy 503 ServiceUnavailable\nupload 503 ServiceUnavailable\nhead ok\nlist ok";
    assert_eq!(ask(&keyless.server, ENDS).await?.trim(), expected);
    keyless.stop().await?;

    // An owner who may not read plain bytes.
    shop.store.revoke(&server.key.user, &Right::PlainRead(None)).await.expect("taken");
    let fresh = shop.serve_for(server.key.clone(), server.other.clone()).await;
    let server = Server { endpoint: format!("http://{}", fresh.addr), ..server };
    let expected = "put ok\nget 403 AccessDenied\nrange 403 AccessDenied\ncopy 403 AccessDenied\n\
                    upload ok\nhead ok\nlist ok";
    assert_eq!(ask(&server, ENDS).await?.trim(), expected);
    Ok(())
}
