//! Replies as providers send them, each with what it costs reckoned by hand.

use bursar_actors::Usage;

use super::{Evidence, ModelPrice, Priced, Unpriced};
use crate::config::catalog::{Rates, Tariff, Tier};
use crate::providers::catalog::Price;
use crate::providers::openai::whole_facts;
use crate::providers::passing;
use crate::schema::Operation;

/// Prices in nano-dollars a token.
fn rates(input: u64, cached: u64, output: u64) -> Rates {
    let per_million = |nanos: u64| Some(nanos * 1_000_000).filter(|rate| *rate > 0);
    Rates {
        input: per_million(input),
        cached: per_million(cached),
        output: per_million(output),
        cache_write: per_million(input * 5 / 4),
        cache_write_long: per_million(input * 2),
        ..Rates::default()
    }
}

fn price(rates: &[(Tier, u64, Rates)]) -> Price {
    let tariff: Tariff = rates.iter().map(|(tier, above, rates)| ((*tier, *above), *rates)).collect();
    Price { tariff, ..Price::default() }
}

/// What costs the same however it is served.
fn standard(rates: Rates) -> Price {
    price(&[(Tier::Standard, 0, rates)])
}

fn usage(operation: Operation, reply: &str) -> Usage {
    match operation {
        Operation::ChatCompletions | Operation::Embeddings => whole_facts(operation, reply.as_bytes()).unwrap().usage,
        other => passing::whole(other, reply.as_bytes()).unwrap().usage,
    }
    .unwrap()
}

fn priced(price: Price, operation: Operation, reply: &str) -> Result<Priced, Unpriced> {
    let told = Some(usage(operation, reply));
    let model = ModelPrice { price: Some(price), guess: None, regional: false, snapshot: "".into() };
    model.of(&Evidence { told, complete: true, ..Evidence::default() })
}

#[track_caller]
fn costs(price: Price, operation: Operation, reply: &str, nano: u64) {
    assert_eq!(priced(price, operation, reply), Ok(Priced { nano, estimated: false, guessed: None }));
}

fn chat(usage: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"message":{{"content":"x"}},"finish_reason":"stop"}}],{usage}}}"#)
}

fn message(usage: &str) -> String {
    format!(r#"{{"type":"message","content":[],"stop_reason":"end_turn","usage":{{{usage}}}}}"#)
}

fn candidates(usage: &str) -> String {
    format!(r#"{{"candidates":[{{"finishReason":"STOP"}}],"usageMetadata":{{{usage}}}}}"#)
}

#[test]
fn cached_tokens_are_cheaper() {
    let reply = chat(
        r#""usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,
            "prompt_tokens_details":{"cached_tokens":600}}"#,
    );

    let by_hand = 400 * 2500 + 600 * 1250 + 100 * 10_000;
    costs(standard(rates(2500, 1250, 10_000)), Operation::ChatCompletions, &reply, by_hand);
}

#[test]
fn anthropic_counts_the_cache_beside_the_input_and_an_hour_of_it_costs_more() {
    let reply = message(
        r#""input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":2000,"output_tokens":50,
            "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}"#,
    );

    let by_hand = 10 * 3000 + 100 * 3750 + 200 * 6000 + 2000 * 300 + 50 * 15_000;
    costs(standard(rates(3000, 300, 15_000)), Operation::Messages, &reply, by_hand);
}

#[test]
fn anthropics_searches_and_its_region_come_on_top() {
    let reply = message(
        r#""input_tokens":1000,"output_tokens":10,"inference_geo":"us","server_tool_use":{"web_search_requests":3}"#,
    );
    let price = Price { search: Some([10_000_000; 3]), regional: Some(1100), ..standard(rates(5000, 500, 25_000)) };

    let by_hand = (1000 * 5000 + 10 * 25_000) * 11 / 10 + 3 * 10_000_000;
    costs(price, Operation::Messages, &reply, by_hand);
}

#[test]
fn thoughts_that_the_completion_leaves_out_are_found_in_the_total() {
    let reply = chat(
        r#""usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":130,
            "completion_tokens_details":{"reasoning_tokens":100}}"#,
    );
    let rates = Rates { reasoning: Some(3_000_000_000), ..rates(1000, 0, 2000) };

    let by_hand = 10 * 1000 + 20 * 2000 + 100 * 3000;
    costs(standard(rates), Operation::ChatCompletions, &reply, by_hand);
}

#[test]
fn the_tier_that_served_has_its_own_price() {
    let price = price(&[
        (Tier::Standard, 0, rates(2000, 0, 8000)),
        (Tier::Flex, 0, rates(1000, 0, 4000)),
        (Tier::Batch, 0, rates(900, 0, 3600)),
        (Tier::Priority, 0, rates(3500, 0, 14_000)),
    ]);
    let served = |tier: &str| {
        chat(&format!(
            r#""service_tier":"{tier}","usage":{{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}"#
        ))
    };

    costs(price.clone(), Operation::ChatCompletions, &served("default"), 100 * 2000 + 10 * 8000);
    costs(price.clone(), Operation::ChatCompletions, &served("flex"), 100 * 1000 + 10 * 4000);
    costs(price.clone(), Operation::ChatCompletions, &served("priority"), 100 * 3500 + 10 * 14_000);
    let batch = message(r#""input_tokens":100,"output_tokens":10,"service_tier":"batch""#);
    costs(price, Operation::Messages, &batch, 100 * 900 + 10 * 3600);
}

#[test]
fn above_two_hundred_thousand_tokens_all_of_them_are_dearer() {
    let price =
        price(&[(Tier::Standard, 0, rates(1250, 125, 10_000)), (Tier::Standard, 200_000, rates(2500, 250, 15_000))]);
    let read = |tokens: u64| candidates(&format!(r#""promptTokenCount":{tokens},"candidatesTokenCount":10"#));

    costs(price.clone(), Operation::GenerateContent, &read(200_000), 200_000 * 1250 + 10 * 10_000);
    costs(price, Operation::GenerateContent, &read(200_001), 200_001 * 2500 + 10 * 15_000);
}

#[test]
fn gemini_counts_thoughts_beside_the_candidates_and_what_tools_read_beside_the_prompt() {
    let reply = candidates(
        r#""promptTokenCount":1000,"cachedContentTokenCount":400,"toolUsePromptTokenCount":50,
            "candidatesTokenCount":30,"thoughtsTokenCount":70,"totalTokenCount":1150"#,
    );

    let by_hand = (1000 - 400 + 50) * 300 + 400 * 30 + (30 + 70) * 2500;
    costs(standard(rates(300, 30, 2500)), Operation::GenerateContent, &reply, by_hand);
}

#[test]
fn gemini_tells_by_lists_what_was_audio_and_what_of_it_was_cached() {
    let reply = candidates(
        r#""promptTokenCount":1000,"cachedContentTokenCount":200,"candidatesTokenCount":10,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":100},{"modality":"AUDIO","tokenCount":900}],
            "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":200}]"#,
    );
    let rates = Rates { audio_input: Some(1_000_000_000), ..rates(300, 30, 2500) };

    let by_hand = 100 * 300 + 700 * 1000 + 200 * 30 + 10 * 2500;
    costs(standard(rates), Operation::GenerateContent, &reply, by_hand);
}

#[test]
fn an_embedding_costs_what_it_read() {
    let reply = r#"{"object":"list","data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;

    costs(standard(rates(20, 0, 0)), Operation::Embeddings, reply, 8 * 20);
}

#[test]
fn audio_costs_more_than_text_in_both_directions() {
    let reply = chat(
        r#""usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"audio_tokens":60,"text_tokens":40},
            "completion_tokens_details":{"audio_tokens":40,"text_tokens":10}}"#,
    );
    let audio =
        Rates { audio_input: Some(40_000_000_000), audio_output: Some(80_000_000_000), ..rates(2500, 0, 10_000) };

    let by_hand = 40 * 2500 + 60 * 40_000 + 10 * 10_000 + 40 * 80_000;
    costs(standard(audio), Operation::ChatCompletions, &reply, by_hand);
}

#[test]
fn an_answer_that_was_cut_off_costs_what_it_read_and_about_what_it_wrote() {
    let told = Some(usage(
        Operation::Messages,
        &message(r#""input_tokens":1000,"cache_read_input_tokens":500,"output_tokens":2"#),
    ));
    let model = ModelPrice {
        price: Some(standard(rates(3000, 300, 15_000))),
        guess: None,
        regional: false,
        snapshot: "".into(),
    };

    let cut = Evidence { told, complete: false, prompt_estimate: 7, output_bytes: 402 };

    let by_hand = 1000 * 3000 + 500 * 300 + 101 * 15_000;
    assert_eq!(model.of(&cut), Ok(Priced { nano: by_hand, estimated: true, guessed: None }));
}

#[test]
fn what_has_no_price_is_not_free() {
    let ahead = candidates(r#""promptTokenCount":5,"candidatesTokenCount":1,"trafficType":"PROVISIONED_THROUGHPUT""#);
    let searched = message(r#""input_tokens":5,"output_tokens":1,"server_tool_use":{"web_search_requests":1}"#);
    let pictured = chat(
        r#""usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"completion_tokens_details":{"image_tokens":9}}"#,
    );
    let cases =
        [(Operation::GenerateContent, ahead), (Operation::Messages, searched), (Operation::ChatCompletions, pictured)];
    for (operation, reply) in cases {
        let counted = priced(standard(rates(300, 30, 2500)), operation, &reply).expect("a price for the rest");
        assert!(counted.nano > 0 && counted.estimated && counted.guessed == Some(Unpriced::Part), "{reply}");
    }
    let free = ModelPrice { price: None, guess: None, regional: false, snapshot: "".into() };
    assert_eq!(free.of(&Evidence::default()), Err(Unpriced::Model));
}
