//! The list of models in Anthropic's shape.

use bytes::Bytes;
use serde_json::{Value, json};

/// Writes models, each an id and who owns it, as one page. When they were made nobody says.
pub fn write_models(ids: &[(String, String)]) -> Bytes {
    let data: Vec<Value> = ids.iter().map(|(id, owner)| model(id, owner)).collect();
    let (first, last) = (ids.first().map(|(id, _)| id), ids.last().map(|(id, _)| id));
    json!({ "data": data, "has_more": false, "first_id": first, "last_id": last }).to_string().into()
}

/// Writes one model, likewise.
pub fn write_model(id: &str, owner: &str) -> Bytes {
    model(id, owner).to_string().into()
}

fn model(id: &str, owner: &str) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": "1970-01-01T00:00:00Z",
        "owned_by": owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_first_and_last() {
        let ids = ["a", "b"].map(|id| (id.to_owned(), "demo".to_owned()));

        let page: Value = serde_json::from_slice(&write_models(&ids)).unwrap();

        assert_eq!((&page["first_id"], &page["last_id"], &page["has_more"]), (&json!("a"), &json!("b"), &json!(false)));
        assert_eq!((&page["data"][1]["type"], &page["data"][1]["id"]), (&json!("model"), &json!("b")));
        let empty: Value = serde_json::from_slice(&write_models(&[])).unwrap();
        assert_eq!(empty, json!({ "data": [], "has_more": false, "first_id": null, "last_id": null }));
    }
}
