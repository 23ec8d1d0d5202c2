use super::*;

/// The quotas of a route that has this `quota`, as text with their sources and zones.
fn quotas(quota: &str) -> Result<Vec<String>, String> {
    let models = format!(
        "models:\n- id: m\n  route:\n  - base_url: https://api.example.com\n    quota: {quota}\n"
    );
    let config = load_texts(&models, Some("time_zone: Asia/Tokyo\n"), &[]);
    let config = config.map_err(|errors| errors.to_string())?;
    let shown =
        |quota: &Quota| format!("{quota}, {}, {}", quota.source.as_str(), quota.time_zone.name());
    Ok(config.models[0].deployments[0].quotas.iter().map(shown).collect())
}

#[test]
fn a_route_has_one_quota_or_several() {
    for (quota, expected) in [
        ("{requests: 500, per: minute}", vec!["500 requests per minute, counted, Asia/Tokyo"]),
        (
            "{tokens: 7, per: {seconds: 90}, source: headers}",
            vec!["7 tokens per 90s, headers, Asia/Tokyo"],
        ),
        (
            "{requests: 1, tokens: 2, per: day, time_zone: America/Los_Angeles}",
            vec![
                "1 requests per day, counted, America/Los_Angeles",
                "2 tokens per day, counted, America/Los_Angeles",
            ],
        ),
        (
            "[{requests: 1, per: hour}, {requests: 9, per: month, source: counted}, {requests: 1, per: hour, source: headers}]",
            vec![
                "1 requests per hour, counted, Asia/Tokyo",
                "9 requests per month, counted, Asia/Tokyo",
                "1 requests per hour, headers, Asia/Tokyo",
            ],
        ),
        ("[]", vec![]),
    ] {
        assert_eq!(quotas(quota).expect(quota), expected, "{quota}");
    }
}

#[test]
fn a_quota_that_cannot_be_meant_is_an_error_at_its_line() {
    for (quota, message) in [
        ("{per: minute}", "neither `requests` nor `tokens`"),
        ("{requests: 0, per: minute}", "1"),
        ("{requests: 5}", "per"),
        ("{requests: 5, per: fortnight}", "minute"),
        ("{requests: 5, per: {seconds: 0}}", "seconds"),
        ("{requests: 5, per: minute, source: guessed}", "counted"),
        ("{requests: 5, per: minute, time_zone: Mars/Olympus}", "no such time zone"),
        ("{request: 5, per: minute}", "requests"),
        ("[{requests: 5, per: minute}, {requests: 9, per: {seconds: 60}}]", "a second quota"),
    ] {
        let said = quotas(quota).expect_err(quota);
        assert!(said.contains(message) && said.contains("models.yaml:5"), "{quota}: {said}");
    }
}
