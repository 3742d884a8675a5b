//! Readium's reader follows the status of a loan: it registers, renews and returns, fetches the licence when it has changed, and is refused in words it knows.

use anyhow::Context;
use drm::licence::{Issued, Rights};
use drm::rfc3339;
use drm::status::{
    Device, Language, PROBLEM_TYPE, Policy, Problem, Record, RenewLink, StatusLinks, Step, View, document, register,
    renew, return_licence,
};
use drm_compat::http::{Request, Response, Server};
use drm_compat::{KeyKind, Needs, Shop, Title, at, json_of, lacks, made_up, program};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};
use types::Timestamp;

const STATUS_TYPE: &str = drm::licence::STATUS_TYPE;

/// A store that lends, without a network: what a gateway does around the crate, in short.
struct Lender {
    shop: Shop,
    issued: Issued,
    record: Record,
    policy: Policy,
    links: StatusLinks,
    /// A minute passes with each request.
    now: Timestamp,
}

impl Lender {
    fn answer(&mut self, request: &Request) -> Response {
        self.now = Timestamp::from_secs(self.now.secs() + 60, 0);
        let device = Device { id: request.query.get("id").cloned(), name: request.query.get("name").cloned() };
        let end = request.query.get("end").and_then(|end| rfc3339::read(end).ok());
        let (record, policy, now) = (&self.record, &self.policy, self.now);
        let verb = request.path.rsplit('/').next().unwrap_or_default();
        let step = match (request.method.as_str(), verb) {
            ("GET", "status") => return self.status(request),
            ("GET", "fresh") => return Response::new(200, drm::licence::LICENCE_TYPE, self.issued.document.clone()),
            ("POST", "register") => register(record, policy, &device, now),
            ("PUT", "renew") => renew(record, policy, &device, end, now),
            ("PUT", "return") => return_licence(record, &device, now),
            _ => return problem(&Problem::not_found()),
        };
        match step {
            Ok(step) => self.take(step, request),
            Err(refusal) => problem(&Problem::from(&refusal)),
        }
    }

    fn take(&mut self, step: Step, request: &Request) -> Response {
        if let Some(end) = step.new_end {
            self.issued = self.shop.end_at(&self.issued, end, self.now).expect("a licence that can end then");
            assert_eq!(Some(self.issued.last_change), step.licence_updated);
        }
        self.record.apply(step);
        self.status(request)
    }

    fn status(&self, request: &Request) -> Response {
        let header = request.headers.get("accept-language").map_or("", String::as_str);
        let view = View { language: Language::accepted(header, Language::Korean), with_events: true };
        let document = document(&self.record, &self.links, &self.policy, view, self.now);
        Response::new(200, STATUS_TYPE, document.to_string())
    }
}

fn problem(problem: &Problem) -> Response {
    Response::new(problem.status, PROBLEM_TYPE, problem.to_json().to_string())
}

/// A loan of two weeks, renewed by a week at a time for two months at most, and its store at an address.
fn lend() -> anyhow::Result<(Arc<Mutex<Lender>>, Server, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let lender: Arc<Mutex<Option<Arc<Mutex<Lender>>>>> = Arc::default();
    let of_server = lender.clone();
    let server = Server::start(move |request: &Request| {
        let lender = of_server.lock().expect("no answer panics").clone();
        lender.expect("the store opens before anybody comes").lock().expect("no answer panics").answer(request)
    })?;
    let base = server.base();
    let [_, comic, _] = made_up(folder.path())?;
    let title = Title::protect(&comic, 1)?;
    let mut shop = Shop::new(KeyKind::Ecdsa, &base)?;
    let (now, end) = (at("2026-06-01T00:00:00Z"), at("2026-06-15T00:00:00Z"));
    let issued = shop.issue(&title, &Rights { end: Some(end), ..Rights::default() }, now)?;
    let id = drm::licence::Licence::parse(issued.document.as_bytes())?.terms().id.parse()?;
    let policy = Policy { renew_days: Some(7), renew_days_max: Some(61), ..Policy::default() };
    let href = |verb: &str| format!("{base}/lsd/licenses/{{license_id}}/{verb}");
    let links = StatusLinks {
        licence_href: href("fresh"),
        register_href: Some(href("register")),
        renew: Some(RenewLink::Here(href("renew"))),
        return_href: Some(href("return")),
    };
    let record = Record::new(id, issued.last_change, Some(end), policy.max_end(now, Some(end)));
    fs::write(folder.path().join("license.lcpl"), &issued.document)?;
    let store = Arc::new(Mutex::new(Lender { shop, issued, record, policy, links, now }));
    *lender.lock().expect("no answer panics") = Some(store.clone());
    Ok((store, server, folder))
}

#[test]
fn a_loan_goes_round() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python]) {
        return Ok(());
    }
    let (store, server, folder) = lend()?;
    let steps = ["open", "renew", "open", "renew=2026-07-10T12:00:00Z", "renew=2027-01-01T00:00:00Z", "open", "return"];
    let mut reader = program("js/loan.js")?;
    reader.arg(folder.path().join("license.lcpl")).args(steps).args(["return-again", "open", "open"]);
    let told: Vec<Value> = json_of(&mut reader)?;

    let rels = json!(["license", "register", "renew", "return"]);
    assert_eq!((&told[0]["status"], &told[0]["rels"], &told[0]["fresh"]), (&json!("active"), &rels, &Value::Null));
    assert_eq!(told[0]["message"], "The licence is in use.", "its reader asks for English");
    assert_eq!(told[0]["end"], "2026-08-01T00:00:00.000Z");
    let end_of = |step: &Value| -> anyhow::Result<Option<Timestamp>> {
        let fresh = step["fresh"].as_str().with_context(|| format!("no new licence: {step}"))?;
        Ok(drm::licence::Licence::parse(fresh.as_bytes())?.terms().rights.end)
    };
    assert_eq!(end_of(&told[2])?, Some(at("2026-06-22T00:00:00Z")), "a week more");
    let refused = |step: &Value, kind: &str, status: u16| {
        let refusal = &step["refusal"];
        assert_eq!(refusal["type"], format!("http://readium.org/license-status-document/error/{kind}"), "{step}");
        assert_eq!((&refusal["status"], &refusal["httpStatusCode"]), (&json!(status), &json!(status)));
    };
    assert_eq!(told[3]["status"], "active");
    refused(&told[4], "renew/date", 403);
    assert_eq!(end_of(&told[5])?, Some(at("2026-07-10T12:00:00Z")), "the end that was asked for");
    assert_eq!((&told[6]["status"], &told[6]["rels"]), (&json!("returned"), &json!(["license"])));
    refused(&told[7], "return/already", 403);
    assert!(end_of(&told[8])?.is_some_and(|end| end < at("2026-06-02T00:00:00Z")), "it ended when it was returned");
    assert_eq!((&told[9]["status"], &told[9]["fresh"]), (&json!("returned"), &Value::Null));

    let store = store.lock().expect("no answer panics");
    let events: Vec<_> = store.record.events.iter().map(|event| (event.kind.name(), &event.device)).collect();
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), ["register", "renew", "renew", "return"]);
    let device = Device { id: Some("기기 1 & 2".to_owned()), name: Some("책 읽는 기기 100% / #1".to_owned()) };
    assert!(events.iter().all(|(_, of)| **of == device), "{events:?}");
    assert!(server.log().iter().all(|(_, status)| matches!(status, 200 | 403)));
    Ok(())
}
