//! `policy schema`.

use crate::commands::{ADMITTED, code, countersign, json, text};

#[tokio::test]
async fn the_schema_is_printed_as_it_is_shipped() {
    let output = countersign(&["policy", "schema"]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        include_str!("../../../../config/schema.json"),
        "write it anew: countersign policy schema > config/schema.json"
    );
    let schema = json(&output);
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["additionalProperties"], false);
    let mode = &schema["definitions"]["policy"]["properties"]["mode"];
    assert_eq!(mode["default"], "enforce");
}
