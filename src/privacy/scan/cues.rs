//! Words that say what stands beside them, found in one pass over the text.

use aho_corasick::{AhoCorasick, MatchKind};

/// What a word points at; sets of them are masks.
pub type Kind = u32;

pub const PHONE: Kind = 1;
pub const SSN: Kind = 1 << 1;
pub const CARD: Kind = 1 << 2;
pub const ACCOUNT: Kind = 1 << 3;
pub const ROUTING: Kind = 1 << 4;
pub const PASSPORT: Kind = 1 << 5;
pub const LICENCE: Kind = 1 << 6;
pub const MRN: Kind = 1 << 7;
pub const PLAN: Kind = 1 << 8;
pub const NPI: Kind = 1 << 9;
pub const DEA: Kind = 1 << 10;
pub const IMEI: Kind = 1 << 11;
pub const NATIONAL: Kind = 1 << 12;
pub const POSTCODE: Kind = 1 << 13;
pub const CRYPTO: Kind = 1 << 14;
pub const MONTH: Kind = 1 << 15;
pub const WEEKDAY: Kind = 1 << 16;
pub const SECRET: Kind = 1 << 17;
pub const USERNAME: Kind = 1 << 18;
pub const PASSWORD: Kind = 1 << 19;
pub const PREFIX: Kind = 1 << 20;
pub const PEM: Kind = 1 << 21;
pub const WWW: Kind = 1 << 22;
pub const AGE: Kind = 1 << 23;
pub const DOMAIN: Kind = 1 << 24;
/// Words that make a number beside them something else than a telephone's.
pub const OTHER: Kind = 1 << 25;

/// The words of each kind, with bars between. A `~` stands for a place within a word: elsewhere both ends have to be ends of words.
const WORDS: &[(Kind, &str)] = &[
    (
        PHONE,
        "phone|phones|telephone|cellphone|call|calling|called|tel|mobile|cell|office|fax|desk|text me|\
         texting|sms|whatsapp|contact|reach|ring|hotline|dial|number is|numbers are|my number|voicemail|\
         landline|telefon|handy|rufnummer|mobil|anrufen|téléphone|portable|appelez|teléfono|móvil|telefono|\
         cellulare|telefone|celular|telefoon|puhelin|numéro|rappeler|direct line|toll free|toll-free|\
         helpline|phone number|pager",
    ),
    (
        SSN,
        "ssn|social security|social security number|ss#|ssns|socialsecurity|itin|tax id|taxpayer|taxpayer id|\
         social",
    ),
    (CARD, "card|credit|debit|visa|mastercard|amex|cc|cvv|maestro|discover|pan|kreditkarte|carte|tarjeta|carta"),
    (
        ACCOUNT,
        "account number|account no|account #|acct|account|bank account|kontonummer|checking|savings|iban|\
         bankkonto|numéro de compte|cuenta",
    ),
    (ROUTING, "routing|routing number|aba|rtn|transit number|sort code"),
    (PASSPORT, "passport|passport number|passport no|reisepass|passeport|pasaporte|passaporto|passnummer"),
    (
        LICENCE,
        "driver license|driver's license|drivers license|driver licence|driving licence|driving license|\
         license number|licence number|dl number|driver's licence|führerschein|permis|permis de conduire|dln|\
         driver license number",
    ),
    (
        MRN,
        "mrn|medical record|medical record number|patient id|patient number|patient no|chart number|\
         record number|hospital number|patient identifier|encounter|case number|patientennummer",
    ),
    (
        PLAN,
        "member id|member number|policy number|policy no|subscriber id|group number|health plan|insurance id|\
         beneficiary|insurance number|medicare|medicaid|mbi|policy|versichertennummer|subscriber|insurance",
    ),
    (NPI, "npi|national provider"),
    (DEA, "dea"),
    (IMEI, "imei"),
    (
        NATIONAL,
        "national id|identity card|id card|id number|national insurance|nino|nhs|nhs number|steuer-id|\
         steuernummer|identifikationsnummer|personalausweis|numéro de sécurité sociale|dni|nie|\
         codice fiscale|bsn|burgerservicenummer|rijksregisternummer|pesel|personnummer|henkilötunnus|cpr|\
         fødselsnummer|nif|cpf|cnpj|aadhaar|pan number|my number card|sin|social insurance|tfn|tax file|\
         tax file number|curp|nric|fin|teudat zehut|kimlik|ahv|avs|vat number|id no|resident registration",
    ),
    (POSTCODE, "zip|zip code|zipcode|postal|postal code|postcode|post code|plz|code postal"),
    (CRYPTO, "bitcoin|btc|wallet|ethereum|eth|crypto|address"),
    (
        MONTH,
        "january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|\
         apr|jun|jul|aug|sep|sept|oct|nov|dec|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|\
         février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|\
         mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|maggio|\
         giugno|luglio|settembre|ottobre|dicembre|januari|februari|maart|mei|augustus|janeiro|fevereiro|\
         março|maio|junho|julho|setembro|outubro|novembro|dezembro",
    ),
    (WEEKDAY, "monday|tuesday|wednesday|thursday|friday|saturday|sunday"),
    (
        SECRET,
        "~api_key|~apikey|~api-key|api key|~secret|~token|~access_key|~accesskey|~auth_key|~client_secret|\
         ~private_key|~encryption_key|bearer|~accountkey|~sharedaccesskey|~signing_key|authorization|\
         ~credential",
    ),
    (USERNAME, "~username|~user_name|user name|~userid|~user_id|user id|login|user|benutzername"),
    (PASSWORD, "~password|~passwd|~passphrase|~pwd|pass|passcode|pin|~passwort|kennwort|contraseña"),
    (PEM, "~-----begin "),
    (WWW, "www."),
    (AGE, "years old|year old|years-old|year-old|yr old|y/o|yo|aged|age|years of age|ans|jahre alt|ages"),
    (DOMAIN, "~.com/|~.com|~.org/|~.net/|~.edu/|~.gov/|~.io/"),
    (
        OTHER,
        "order|invoice|ticket|version|isbn|port|line|id:|case|quantity|amount|price|total|usd|eur|tracking|\
         build|commit|sku|ref",
    ),
    (
        PREFIX,
        "~sk-|~sk_live_|~sk_test_|~rk_live_|~pk_live_|~akia|~asia|~ghp_|~gho_|~ghu_|~ghs_|~ghr_|~github_pat_|\
         ~glpat-|~xoxb-|~xoxp-|~xoxa-|~xoxr-|~xoxs-|~xapp-|~aiza|~ya29.|~hf_|~npm_|~pypi-|~sg.|~shpat_|\
         ~dop_v1_|~eaaced|~key-|~sq0atp-|~sq0csp-|~r8_|~gsk_|~xai-|~pplx-|~whsec_|~lin_api_|~dapi|~eyj|\
         ~figd_|~ntn_|~secret_|~rubygems_|~atatt3|~vercel_|~nvapi-|~sbp_|~tfp_|~pat-|~hvs.|~agpa|~aroa|~co-|\
         ~bsr_|~glsa_|~phc_|~dckr_pat_|~dp.pt.|~age-secret-key-1|~sntrys_|~pul-|~nrak-|~amzn.mws.|~ltai",
    ),
];

/// A word in a text.
#[derive(Clone, Copy, Debug)]
pub struct Cue {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

/// Finds the words of some kinds.
pub struct Cues {
    words: AhoCorasick,
    /// By pattern: what it points at, and whether both its ends have to be ends of words.
    kinds: Vec<(Kind, bool)>,
}

impl Cues {
    /// For the kinds in `wanted`.
    pub fn new(wanted: Kind) -> Self {
        let mut patterns = Vec::new();
        let mut kinds = Vec::new();
        for (kind, words) in WORDS.iter().filter(|(kind, _)| kind & wanted != 0) {
            for word in words.split('|') {
                let within = word.strip_prefix('~');
                patterns.push(within.unwrap_or(word));
                kinds.push((*kind, within.is_none()));
            }
        }
        let words =
            AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).build(&patterns);
        Self { words: words.expect("the words are few and short"), kinds }
    }

    /// Leaves in `cues` the words of `text`, by their ends.
    pub fn find(&self, text: &str, cues: &mut Vec<Cue>) {
        cues.clear();
        let bytes = text.as_bytes();
        let inner = |at: usize| bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        for found in self.words.find_overlapping_iter(text) {
            let (kind, whole) = self.kinds[found.pattern().as_usize()];
            let (start, end) = (found.start(), found.end());
            let last = bytes[end - 1];
            if whole && ((start > 0 && inner(start - 1)) || (last.is_ascii_alphanumeric() && inner(end))) {
                continue;
            }
            cues.push(Cue { start, end, kind });
        }
    }
}

/// How many words a cue may stand away from what it says something about.
const TOKENS: usize = 5;
/// And how many bytes those may have.
const REACH: usize = 80;

/// Whether one of `kinds` stands within five words of `start..end`.
pub fn near(cues: &[Cue], bytes: &[u8], start: usize, end: usize, kinds: Kind) -> bool {
    before(cues, bytes, start, kinds, TOKENS) || after(cues, bytes, end, kinds, TOKENS)
}

/// Whether one of `kinds` stands at most `tokens` words before `start`.
pub fn before(cues: &[Cue], bytes: &[u8], start: usize, kinds: Kind, tokens: usize) -> bool {
    let last = cues.partition_point(|cue| cue.end <= start);
    let close = cues[..last].iter().rev().take_while(|cue| cue.end + REACH >= start).take(24);
    close.filter(|cue| cue.kind & kinds != 0).any(|cue| words(bytes, cue.end, start) <= tokens)
}

/// Whether one of `kinds` begins at most `tokens` words behind `end`.
pub fn after(cues: &[Cue], bytes: &[u8], end: usize, kinds: Kind, tokens: usize) -> bool {
    let first = cues.partition_point(|cue| cue.end <= end);
    let close = cues[first..].iter().take_while(|cue| cue.start <= end + REACH).take(24);
    close.filter(|cue| cue.kind & kinds != 0 && cue.start >= end).any(|cue| words(bytes, end, cue.start) <= tokens)
}

/// How many words begin between two places.
fn words(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut count = 0;
    let mut in_word = false;
    for byte in &bytes[from.min(to)..to] {
        let letter = byte.is_ascii_alphanumeric() || *byte >= 0x80;
        count += usize::from(letter && !in_word);
        in_word = letter;
    }
    count
}
