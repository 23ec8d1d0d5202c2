//! The rows of the table that lead to the next deployment.

use super::*;

/// The rows that lead to the next deployment: status, body, and the outcome of the attempt.
fn that_fall_back() -> Vec<(u16, String, &'static str)> {
    let plain = || error("no", "");
    vec![
        (403, plain(), "refused_403"),
        (402, plain(), "refused_402"),
        (429, error("You exceeded your current quota", "insufficient_quota"), "refused_429"),
        (401, error("mismatched", "mismatched_organization"), "refused_401"),
        (401, plain(), "credential_401"),
        (407, plain(), "credential_407"),
        (403, error("no permission", "permission_denied"), "credential_403"),
        (400, error("API key not valid. Please pass a valid API key.", ""), "credential_400"),
        (404, error("The model `r8` does not exist.", ""), "no_model"),
        (400, error("r9 is not a valid model ID", ""), "no_model"),
        (404, error("gone", "model_not_found"), "no_model"),
        (404, json!({"detail": "Not Found"}).to_string(), "no_endpoint_404"),
        (405, plain(), "no_endpoint_405"),
        (501, plain(), "no_endpoint_501"),
        (505, plain(), "no_endpoint_505"),
        (408, plain(), "status_408"),
        (409, plain(), "status_409"),
        (424, plain(), "status_424"),
        (425, plain(), "status_425"),
        (499, plain(), "status_499"),
        (429, plain(), "status_429"),
        (503, plain(), "status_503"),
        (529, plain(), "status_529"),
        (498, plain(), "status_498"),
        (500, error("Overloaded", "overloaded_error"), "overloaded"),
        (500, plain(), "status_500"),
        (302, plain(), "status_302"),
        // Errors in an answer of status 200.
        (
            200,
            r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#.into(),
            "status_429",
        ),
        (200, r#"{"error":{"code":503,"message":"no"}}"#.into(), "status_503"),
        (200, r#"{"error":{"code":401,"message":"no"}}"#.into(), "credential_401"),
        (200, r#"{"error":{"code":402,"message":"no"}}"#.into(), "refused_402"),
        (200, r#"{"error":{"code":"403","message":"no"}}"#.into(), "refused_403"),
        (200, r#"{"error":{"code":502,"message":"no"}}"#.into(), "error_in_body"),
        (
            200,
            r#"{"choices":[{"finish_reason":"error","error":{"code":503,"message":"no"}}]}"#.into(),
            "status_503",
        ),
        (200, r#"{"success":false,"code":503,"msg":"no"}"#.into(), "status_503"),
        (
            200,
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#.into(),
            "refused_402",
        ),
    ]
}

#[tokio::test]
async fn rows_that_fall_back_and_whom_they_charge() {
    let rows = that_fall_back();
    let good = Engine::start("good");
    let raws: Vec<Raw> =
        rows.iter().map(|(status, body, _)| Raw::answering(*status, body)).collect();
    let (ids, urls): (Vec<String>, Vec<String>) =
        raws.iter().enumerate().map(|(n, raw)| (format!("r{n}"), raw.url())).unzip();
    let good = good.url();
    let routes: Vec<[&str; 2]> = urls.iter().map(|url| [url.as_str(), &good]).collect();
    let models: Vec<(&str, &[&str])> =
        ids.iter().zip(&routes).map(|(id, urls)| (id.as_str(), &urls[..])).collect();
    let gateway = start(&models, "");
    for (id, (status, body, outcome)) in ids.iter().zip(&rows) {
        let reply = ask(&gateway, id, "a").await;
        assert_eq!(
            (reply.status, reply.engine()),
            (200, "good"),
            "{status} {body}: {}",
            reply.text()
        );
        let want = [("first".into(), (*outcome).into()), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, want, "{status} {body}");
        let labels = [("model", id.as_str()), ("deployment", "first")];
        let charged = gateway.metric("gateway_deployment_error_rate", &labels).await > Some(0.0);
        let failures = ["status_500", "status_302", "error_in_body"];
        if failures.contains(outcome) {
            assert!(charged, "{status} {body}");
        } else if !["status_503", "status_429", "status_529", "status_498", "overloaded"]
            .contains(outcome)
        {
            assert!(!charged, "{status} {body}");
        }
    }
}
