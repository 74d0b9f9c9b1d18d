//! Exports as providers write them, with invented figures.
#![allow(clippy::unwrap_used)]

use super::*;

const OPENAI_COSTS: &str = "\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,line_item,project_id
1790467200,1790553600,2026-09-27T00:00:00+00:00,2026-09-28T00:00:00+00:00,,,,,
1790553600,1790640000,2026-09-28T00:00:00+00:00,2026-09-29T00:00:00+00:00,0.003835980000000000000000,usd,,\"gpt-5-nano-2025-08-07, input\",proj_a
1790553600,1790640000,2026-09-28T00:00:00+00:00,2026-09-29T00:00:00+00:00,0.5,usd,1000,\"gpt-5-nano-2025-08-07, output\",proj_a
1790553600,1790640000,2026-09-28T00:00:00+00:00,2026-09-29T00:00:00+00:00,0.01,usd,1,web search tool calls,
";

const OPENAI_USAGE: &str = "\u{feff}\
model,start_time,end_time,num_model_requests,input_tokens,output_tokens,input_cached_tokens,something_new
gpt-4o,1761523200,1761523260,2,100,10,50,x
gpt-4o,1761523260,1761523320,1,7,1,0,x
,1761609600,1761696000,,,,,
";

const ANTHROPIC_COST: &str = "\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type
2026-08-04,Claude Haiku 4.5,Default,demo,message,≤ 200k,input_no_cache,0.05,0.05,token
2026-08-04,Claude Haiku 4.5,Default,demo,message,≤ 200k,output,0.02,0.02,token
2026-08-05,,Default,demo,,,,0.01,0.01,web_search
";

const ANTHROPIC_USAGE: &str = "\
usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count
2026-08-05,claude-opus-5,app,46981,15969,1,2,16932,9
";

const GOOGLE_REPORT: &str = "\
Date,Service description,Service ID,SKU description,SKU ID,Usage amount,Usage unit,List cost ($),Unrounded subtotal ($),Subtotal ($)
2026-08-15,Gemini API,AEFD,Generate content output token count gemini 2.5 flash short input text,911A,\"622,403\",count,1.56,1.555990,1.56
2026-08-15,Compute Engine,6F81,N2 Instance Core,2A8D,10,hour,12.00,12.000000,12.00
2026-08-16,Vertex AI,C7E2,Online prediction,77,1,count,0.10,\"1,000.10\",1000.10
,,,,,,,Subtotal,1001.65,1001.66
";

const GOOGLE_TABLE: &str = "\
Invoice number,1234567890,
Invoice date,2026-06-30,
Currency,USD,
Total amount due,$5.72,

Billing account name,Project ID,Service description,SKU description,Credit type,Cost type,Usage start date,Usage end date,Usage amount,Usage unit,Unrounded Cost ($),Cost ($)
acct,p,Gemini API,Generate content input token count gemini 3 flash text,,Usage,2026-06-01,2026-06-30,10,count,5.000000,5.00
acct,p,Gemini API,Generate content input token count gemini 3 flash text,PROMOTION,Usage,2026-06-01,2026-06-30,10,count,-1.250000,-1.25
";

fn line(from: &str, to: &str, model: Option<&str>, amount: &str, requests: u64) -> Line {
    let amount = Exact::parse(amount).unwrap();
    Line { from: from.to_owned(), to: to.to_owned(), model: model.map(str::to_owned), amount, requests }
}

#[test]
fn openais_costs_are_read_by_day_and_line_item() {
    let bill = read(OPENAI_COSTS).unwrap();

    assert_eq!((bill.vendor, bill.measure), (Vendor::OpenAi, Measure::Dollars));
    assert_eq!((bill.first.as_str(), bill.last.as_str()), ("2026-09-27", "2026-09-28"));
    let day = |model, amount| line("2026-09-28", "2026-09-28", Some(model), amount, 0);
    let nano = "gpt-5-nano-2025-08-07";
    assert_eq!(bill.lines, [day(nano, "0.00383598"), day(nano, "0.5"), day("web search tool calls", "0.01")]);
}

#[test]
fn openais_usage_is_read_by_the_minute_and_in_any_order_of_columns() {
    let bill = read(OPENAI_USAGE).unwrap();

    assert_eq!((bill.measure, bill.has_requests, bill.last.as_str()), (Measure::Tokens, true, "2025-10-28"));
    let day = |amount, requests| line("2025-10-27", "2025-10-27", Some("gpt-4o"), amount, requests);
    assert_eq!(bill.lines, [day("110", 2), day("8", 1)]);
}

#[test]
fn anthropics_cost_and_usage_are_read() {
    let cost = read(ANTHROPIC_COST).unwrap();
    let usage = read(ANTHROPIC_USAGE).unwrap();

    assert_eq!((cost.vendor, cost.measure, cost.lines.len()), (Vendor::Anthropic, Measure::Dollars, 3));
    assert_eq!(cost.lines[2], line("2026-08-05", "2026-08-05", None, "0.01", 0));
    assert_eq!(usage.lines, [line("2026-08-05", "2026-08-05", Some("claude-opus-5"), "79885", 0)]);
    assert!(!usage.has_requests);
}

#[test]
fn googles_report_leaves_out_other_services_and_sums() {
    let bill = read(GOOGLE_REPORT).unwrap();

    let flash = line("2026-08-15", "2026-08-15", Some("gemini-2-5-flash"), "1.55599", 0);
    let other = line("2026-08-16", "2026-08-16", Some("Online prediction"), "1000.1", 0);
    assert_eq!(bill.lines, [flash, other]);
    assert!(bill.notes[0].starts_with("1 lines (12.00 USD) are of other services"), "{:?}", bill.notes);
    assert!(bill.notes[1].starts_with("1 lines without a day"), "{:?}", bill.notes);
}

#[test]
fn googles_cost_table_is_read_behind_its_preamble_with_its_credits() {
    let bill = read(GOOGLE_TABLE).unwrap();

    let month = |amount| line("2026-06-01", "2026-06-30", Some("gemini-3-flash"), amount, 0);
    assert_eq!(bill.lines, [month("5"), month("-1.25")]);
}

#[test]
fn tabs_and_semicolons_separate_as_well() {
    for separator in ["\t", ";"] {
        let text = ANTHROPIC_USAGE.replace(',', separator);
        assert_eq!(read(&text).unwrap().lines.len(), 1);
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    for (text, words) in [
        ("a,b\n1,2\n", "its columns are of no export that is known: a, b; known, by these columns: costs of an OpenAI"),
        ("", "its columns are of no export"),
        (&OPENAI_COSTS.replace("0.5,usd", "0.5,eur"), "line 4: it counts in eur; only bills in US dollars"),
        (&OPENAI_COSTS.replace("0.5,usd", "half,usd"), "line 4: amount_value is `half`, which is no number"),
        (&ANTHROPIC_COST.replace("2026-08-05", "August"), "line 4: `August` is no day"),
        (&GOOGLE_REPORT.replace("($)", "(€)"), "it counts in €; only bills in US dollars"),
        (&GOOGLE_REPORT.replace("Date,", "Month,"), "no line of it has a day (date, usage_start_date"),
    ] {
        let fault = read(text).unwrap_err();
        assert!(fault.starts_with(words), "{fault}");
    }
}

#[test]
fn spans_end_where_they_say() {
    assert_eq!(day("2026-03-01T00:00:00Z", End::Exclusive).unwrap(), "2026-02-28");
    assert_eq!(day("2026-03-01T00:01:00+00:00", End::Exclusive).unwrap(), "2026-03-01");
    assert_eq!(day("2026-03-01", End::Inclusive).unwrap(), "2026-03-01");
    assert_eq!(day("2026/03/01", End::Inclusive).unwrap(), "2026-03-01");
    assert_eq!(day("1761696000", End::Exclusive).unwrap(), "2025-10-28");
    assert_eq!(day_after("2028-02-28"), "2028-02-29");
    for wrong in ["", "soon", "2026-13-01", "2026-02-3", "éééééééééé"] {
        assert!(day(wrong, End::Inclusive).is_err(), "{wrong}");
    }
}
