//! What a generateContent request may contain, as Google's reference lists it; names in camelCase.

use super::super::shape::Shape::{Any, Flag, Free, List, Map, Number, Same, Text, Whole, Word};
use super::super::shape::{Field, Shape, may, needs};

/// The fields of `:generateContent` and `:streamGenerateContent`.
pub(super) static GENERATE: Shape = Shape::Object(&GENERATE_FIELDS);
static GENERATE_FIELDS: [Field; 10] = [
    may("model", Text),
    needs("contents", List(&CONTENT)),
    may("systemInstruction", Same(&CONTENT)),
    may("tools", List(&TOOL)),
    may("toolConfig", TOOL_CONFIG),
    may("safetySettings", List(&SAFETY_SETTING)),
    may("generationConfig", Same(&GENERATION_CONFIG)),
    may("cachedContent", Text),
    may("serviceTier", Text),
    may("labels", Map(&Text)),
];

/// The fields of `:countTokens`.
pub(super) static COUNT_TOKENS: Shape = Shape::Object(&[
    may("contents", List(&CONTENT)),
    may("generateContentRequest", Same(&GENERATE)),
    may("model", Text),
    may("systemInstruction", Same(&CONTENT)),
    may("tools", List(&TOOL)),
    may("generationConfig", Same(&GENERATION_CONFIG)),
]);

/// The fields of `:embedContent`.
pub(super) static EMBED: Shape = Shape::Object(&[
    may("model", Text),
    needs("content", Same(&CONTENT)),
    may("taskType", Text),
    may("title", Text),
    may("outputDimensionality", Whole),
    may("autoTruncate", Flag),
]);

/// The fields of `:batchEmbedContents`.
pub(super) static EMBED_BATCH: Shape = Shape::Object(&[needs("requests", List(&EMBED))]);

static CONTENT: Shape = Shape::Object(&[may("role", Text), needs("parts", List(&PART))]);

static PART: Shape = Shape::Object(&[
    may("text", Text),
    may("inlineData", Shape::Object(&[needs("mimeType", Text), needs("data", Text), may("displayName", Text)])),
    may("fileData", Shape::Object(&[may("mimeType", Text), needs("fileUri", Text), may("displayName", Text)])),
    may("functionCall", Shape::Object(&[may("id", Text), needs("name", Text), may("args", Free)])),
    may("functionResponse", FUNCTION_RESPONSE),
    may("executableCode", Free),
    may("codeExecutionResult", Free),
    may("thought", Flag),
    may("thoughtSignature", Text),
    may("videoMetadata", Free),
    may("mediaResolution", Any),
    may("partMetadata", Free),
]);
/// The fields of a part that hold what it is, of which it has exactly one.
pub(super) const DATA: [&str; 7] =
    ["text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"];

const FUNCTION_RESPONSE: Shape = Shape::Object(&[
    may("id", Text),
    needs("name", Text),
    needs("response", Free),
    may("willContinue", Flag),
    may("scheduling", Text),
    may("parts", Any),
]);

static TOOL: Shape = Shape::Object(&[
    may("functionDeclarations", List(&DECLARATION)),
    may("googleSearch", Free),
    may("googleSearchRetrieval", Free),
    may("codeExecution", Free),
    may("urlContext", Free),
    may("computerUse", Free),
    may("fileSearch", Free),
    may("googleMaps", Free),
]);

static DECLARATION: Shape = Shape::Object(&[
    needs("name", Text),
    may("description", Text),
    may("behavior", Text),
    may("parameters", Same(&SCHEMA)),
    may("parametersJsonSchema", Any),
    may("response", Same(&SCHEMA)),
    may("responseJsonSchema", Any),
]);

const TOOL_CONFIG: Shape = Shape::Object(&[
    may(
        "functionCallingConfig",
        Shape::Object(&[
            may("mode", Word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
            may("allowedFunctionNames", List(&Text)),
            may("streamFunctionCallArguments", Flag),
        ]),
    ),
    may("retrievalConfig", Free),
    may("includeServerSideToolInvocations", Flag),
]);

static SAFETY_SETTING: Shape = Shape::Object(&[needs("category", Text), needs("threshold", Text), may("method", Text)]);

static GENERATION_CONFIG: Shape = Shape::Object(&[
    may("temperature", Number),
    may("topP", Number),
    may("topK", Number),
    may("candidateCount", Whole),
    may("maxOutputTokens", Whole),
    may("stopSequences", List(&Text)),
    may("presencePenalty", Number),
    may("frequencyPenalty", Number),
    may("seed", Whole),
    may("responseMimeType", Word(&["text/plain", "application/json", "text/x.enum"])),
    may("responseSchema", Same(&SCHEMA)),
    may("responseJsonSchema", Any),
    may("responseLogprobs", Flag),
    may("logprobs", Whole),
    may("responseModalities", List(&Text)),
    may("speechConfig", Free),
    may("imageConfig", Free),
    may("mediaResolution", Text),
    may("audioTimestamp", Flag),
    may("enableEnhancedCivicAnswers", Flag),
    may(
        "thinkingConfig",
        Shape::Object(&[
            may("includeThoughts", Flag),
            may("thinkingBudget", Whole),
            may(
                "thinkingLevel",
                Word(&["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "minimal", "low", "medium", "high"]),
            ),
        ]),
    ),
]);

/// The subset of OpenAPI's schemas that `parameters` and `responseSchema` take.
static SCHEMA: Shape = Shape::Object(&SCHEMA_FIELDS);
static SCHEMA_FIELDS: [Field; 22] = [
    may("type", SCHEMA_TYPE),
    may("format", Text),
    may("title", Text),
    may("description", Text),
    may("nullable", Flag),
    may("enum", List(&Text)),
    may("items", Same(&SCHEMA)),
    may("minItems", Any),
    may("maxItems", Any),
    may("properties", Map(&SCHEMA)),
    may("required", List(&Text)),
    may("propertyOrdering", List(&Text)),
    may("minProperties", Any),
    may("maxProperties", Any),
    may("minimum", Number),
    may("maximum", Number),
    may("minLength", Any),
    may("maxLength", Any),
    may("pattern", Text),
    may("anyOf", List(&SCHEMA)),
    may("default", Any),
    may("example", Any),
];
const SCHEMA_TYPE: Shape = Word(&[
    "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", "string", "number", "integer", "boolean",
    "array", "object", "null",
]);
