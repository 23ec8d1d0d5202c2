//! All refusals of the gate, in the order in which a request is read.

use crate::Refusal;

macro_rules! refusals {
    ($($name:ident = $status:literal, $code:literal, $message:literal;)*) => {
        $(#[doc = $message]
        pub const $name: Refusal =
            Refusal { status: $status, code: $code, message: $message };)*
    };
}

refusals! {
    // Another protocol.
    TLS = 400, "tls_on_plain_port", "this port speaks plain HTTP: use http://, not https://";
    HTTP2 = 400, "http2_on_plain_port", "HTTP/2 is not spoken here: use HTTP/1.1";
    VERSION = 400, "unsupported_version", "this version of HTTP is not spoken here: use HTTP/1.1";

    // The request line.
    BARE_LF = 400, "bad_line_end", "a line of the request does not end in CR LF";
    REQUEST_LINE = 400, "bad_request_line", "the request line is not METHOD SP TARGET SP VERSION";
    REQUEST_LINE_LONG = 414, "uri_too_long", "the request line is longer than 8 KiB";
    METHOD = 400, "bad_method", "the request does not begin with a method";
    METHOD_FORBIDDEN = 405, "method_not_allowed", "CONNECT and TRACE are not answered here";
    TARGET_FORM = 400, "bad_target", "the request's target is neither a path nor an http URL";
    TARGET_BYTE = 400, "bad_target", "the request's target holds a byte that must be encoded";
    TARGET_ESCAPE = 400, "bad_target", "the request's target holds an escape that is not allowed";
    TARGET_DOTS = 400, "bad_target", "the request's path holds a dot segment";

    // The fields of the head.
    HEAD_LARGE = 431, "head_too_large", "the head of the request is larger than 64 KiB";
    FIELDS = 431, "too_many_headers", "the request has more than 100 headers";
    FOLD = 400, "bad_header", "a header is folded over two lines";
    FIELD = 400, "bad_header", "a line of the head is not NAME: VALUE";
    FIELD_NAME = 400, "bad_header", "a header's name holds a byte that names cannot hold";
    FIELD_VALUE = 400, "bad_header", "a header's value holds a control byte";
    FIELD_TWIN = 400, "bad_header", "a security-relevant header is spelled with an underscore instead of a hyphen";
    HOST_MISSING = 400, "bad_host", "the request has no Host header";
    HOST_TWICE = 400, "bad_host", "the request has more than one Host header";
    HOST = 400, "bad_host", "the Host header is not a host and a port";
    LENGTH = 400, "bad_framing", "the Content-Length header is not a number";
    LENGTH_TWICE = 400, "bad_framing", "the request has more than one Content-Length header";
    CODING = 400, "bad_framing", "the Transfer-Encoding header is not exactly: chunked";
    CODING_TWICE = 400, "bad_framing", "the request has more than one Transfer-Encoding header";
    CODING_OLD = 400, "bad_framing", "the request has a Transfer-Encoding header in HTTP/1.0";
    BOTH = 400, "bad_framing", "the request has both Content-Length and Transfer-Encoding";
    CONNECTION = 400, "bad_connection", "the Connection header names a header that must not be dropped";
    WEBSOCKET = 400, "upgrade_refused", "websockets are not spoken here: send a POST with \"stream\": true for a stream of events, and no Upgrade header";
    EXPECT = 417, "expectation_failed", "the Expect header may only say 100-continue";

    // The body.
    CHUNK_SIZE = 400, "bad_chunk", "the size of a chunk is not a hexadecimal number";
    CHUNK_END = 400, "bad_chunk", "a chunk does not end where its size says";
    CHUNK_EXTENSION = 400, "bad_chunk", "a chunk's extension is too long or holds a control byte";
    TRAILER = 400, "bad_trailer", "a trailer is not NAME: VALUE, or is a header that only the head may hold";
    TRAILERS = 431, "trailers_too_large", "there are more than 16 trailers, or more than 4 KiB of them";

    // Time.
    HEAD_SLOW = 408, "timeout_client_headers", "the head of the request did not arrive in time";
    BODY_SLOW = 408, "timeout_client_idle", "the body of the request stopped arriving";
}
