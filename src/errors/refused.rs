//! The answers that say that no script ran, or none to its end: a table of status, word for the log, sentence, cause and remedy.
//!
//! Plain words, in every process. A sentence with a part in braces is the form of what is said; all others are said as they stand.

/// A row of the table.
struct Row {
    status: u16,
    word: &'static str,
    form: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

macro_rules! refusals {
    ($($status:literal $word:literal { $($variant:ident $form:literal $cause:literal $remedy:literal;)* })*) => {
        /// Why a request is not answered by what its script came to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refused {
            $($(#[doc = $cause] $variant,)*)*
        }

        impl Refused {
            /// All of them, in the order of the page.
            pub const ALL: &'static [Self] = &[$($(Self::$variant),*),*];

            fn row(self) -> Row {
                match self {
                    $($(Self::$variant => Row {
                        status: $status, word: $word, form: $form, cause: $cause, remedy: $remedy,
                    },)*)*
                }
            }
        }
    };
}

refusals! {
    400 "malformed" {
        BareLineEnd "Malformed request: a line must end with CR LF"
            "A line of the head ends with LF alone." "Use an HTTP library.";
        RequestLine "Malformed request line: expected METHOD SP TARGET SP VERSION"
            "The first line has not three parts with one space between them." "Encode spaces of the path as `%20`.";
        BadMethod "Malformed request line: invalid method"
            "The method holds a character that no method has." "Use GET, HEAD or POST.";
        BadTarget "Malformed request line: invalid target"
            "The path is no URI: it has a fragment, or a character that must be encoded." "Encode the path.";
        BadVersion "Malformed request line: invalid version"
            "The version is not of the form `HTTP/1.1`." "Send HTTP/1.1.";
        Folded "Malformed header: a line must not be folded"
            "A header's line begins with a space or a tab." "Write each header on one line.";
        NoColon "Malformed header: no colon"
            "A line of the head has no colon." "Write `Name: value`.";
        BadName "Malformed header: invalid name"
            "A header's name is empty or holds a character that no name has. A space before the colon is one." "Write `Name: value`.";
        ControlCharacter "Malformed header: control character in a value"
            "A header's value holds a control character." "Encode or remove it.";
        NoHost "Malformed request: the Host header is missing"
            "HTTP/1.1 needs `Host`." "Send `Host`.";
        NoSuchHost "Malformed request: Host is no host"
            "`Host` holds a character that no host and port have." "Send the host and the port of the URL.";
        HostTwice "Malformed request: Host is given more than once"
            "There are two `Host` headers." "Send one.";
        LengthTwice "Malformed request: Content-Length is given more than once"
            "There are two `Content-Length` headers." "Send one.";
        CodingTwice "Malformed request: Transfer-Encoding is given more than once"
            "There are two `Transfer-Encoding` headers." "Send one.";
        BothFramings "Malformed request: both Content-Length and Transfer-Encoding are given"
            "The two may disagree about where the body ends." "Send one of them.";
        NoLength "Malformed request: Content-Length is not a length"
            "`Content-Length` is not a number of 1 to 18 digits." "Send the body's length in bytes.";
        CodingInOld "Malformed request: Transfer-Encoding needs HTTP/1.1"
            "The request is of HTTP/1.0." "Send `Content-Length`, or use HTTP/1.1.";
        ChunkedNotAlone "Malformed request: 'chunked' must be the only Transfer-Encoding"
            "`Transfer-Encoding` names another coding besides." "Send `chunked` alone.";
        BrokenBody "Malformed request: the body ended early or its chunks are malformed"
            "Fewer bytes came than `Content-Length` says, or a chunk is not of the form that RFC 9112 gives." "Send the whole body.";
    }
    400 "wrong_request" {
        NotUtf8 "Request body is not valid UTF-8 (at byte {number})"
            "The body is in another encoding." "Encode the body as UTF-8.";
        Empty "Request body is empty; expected a JSON object"
            "There is no body." "Send `{\"script\": \"…\"}`.";
        NotJson "Request body is not valid JSON: {what and where}"
            "The body is not JSON: often a line break or a quote in the script that is not escaped, or `NaN`." "Build the body with a JSON library.";
        NoObject "Request body must be a JSON object"
            "The body is JSON, and no object." "Send `{\"script\": \"…\"}`.";
        NoScript "Missing 'script' in request"
            "The body has no field `script`." "Send the script's text as `script`.";
        ScriptNoText "'script' must be a string and included in the request"
            "`script` is there and no string." "Send the script's text as `script`.";
        ScriptTooLarge "Script too large. Max size allowed is {size}."
            "The script is longer than `MAYFLY_SCRIPT_BYTES`." "Send data as `args`, `kwargs`, `stdin` or `files`. The header `Mayfly-Hint` says so too.";
        FieldTwice "'{field}' is given more than once"
            "An object has a field twice." "Send it once.";
        UnknownField "Unknown field{s} {names}; known fields are {names}"
            "A field is not one of the request's, of `limits`, or of a file." "Remove it, or correct its name.";
        ArgsNoList "'args' must be a list"
            "`args` is no list." "Send a list, also for one argument.";
        KwargsNoObject "'kwargs' must be an object"
            "`kwargs` is no object." "Send an object of names and values.";
        TooDeep "'{field}' nests deeper than {number} levels"
            "Lists and objects are nested too deeply." "Send the data flat, or as text that the script parses.";
        TooManyDigits "'{field}' holds an integer of more than {number} digits"
            "Python does not convert longer ones either." "Send it as a string.";
        OutOfRange "'{field}' holds a number that is out of range for a float"
            "A number as `1e400` has no float." "Send it as a string.";
        LoneSurrogate "'{field}' holds a lone surrogate escape such as \\ud800, which is no character"
            "A text was cut inside of a pair, often within an emoji." "Cut texts between characters.";
        MalformedValue "'{field}' is malformed"
            "A value is not JSON. The check of the whole body finds that first." "Build the body with a JSON library.";
        StdinNoText "'stdin' must be a string"
            "`stdin` is no string." "Send a string.";
        LimitsNoObject "'limits' must be an object"
            "`limits` is no object." "Send an object, as `{\"wall_ms\": 1000}`.";
        LimitTooLarge "'limits.{name}' is too large: the maximum is {number}"
            "The limit is above the server's maximum." "Ask for less. `/capabilities` lists the maxima, and docs/settings.md their settings.";
        LimitNotInRange "'limits.{name}' must be a whole number from {number} to {number}"
            "The limit is no whole number, or too small." "Send a number in this range, without quotes.";
        IncludeNoList "'include' must be a list of strings; known ones are {words}"
            "`include` is no list of strings." "Send a list, as `[\"stdout\"]`.";
        UnknownInclude "Unknown word {word} in 'include'; known ones are {words}"
            "`include` asks for something that is not there." "Remove the word, or correct it.";
        ModeUnknown "'mode' must be one of {words}"
            "`mode` is none of these." "Send `\"function\"`, `\"program\"` or `\"auto\"`.";
        NotInProgram "'{field}' is for a function, and a program calls none; use 'argv', 'stdin' or mode \"function\""
            "The mode is `program`, or `auto` and the script defines no function to call." "Send `argv` or `stdin`, or mode `function`.";
        NotInFunction "'{field}' is for a program, and a function is called; use 'args' or mode \"program\""
            "The mode is `function`, or `auto` and the script defines the function." "Send `args`, or mode `program`.";
        ArgvNoTexts "'argv' must be a list of strings"
            "`argv` is no list, or a value in it is no string." "Write numbers as strings: `[\"1\"]`.";
        EntrypointNoText "'entrypoint' must be a string"
            "`entrypoint` is no string." "Send a function's name.";
        EntrypointNoName "'entrypoint' must be the name of a function, as \"main\""
            "`entrypoint` can't be the name of a function." "Send the name alone, without parentheses or dots.";
        EnvNoTexts "'env' must be an object of strings"
            "`env` is no object, or a value in it is no string." "Write numbers as strings: `{\"N\": \"1\"}`.";
        TooManyEntries "'{field}' has too many entries: the maximum is {number}"
            "`env` has more variables, or `argv` more texts, than a run may have." "Send fewer, or use `kwargs`, `args` or `stdin`.";
        TooLong "'{field}' is too large: the maximum is {size} for all of it"
            "The names and values of `env`, or the texts of `argv`, are too long together." "Send the data as `kwargs`, `stdin` or `files`.";
        NullCharacter "'{field}' holds a null character, which the system takes for an end"
            "A name or value of `env`, or a text of `argv`, holds U+0000." "Remove it.";
        EnvNoName "'env' has an empty name"
            "A variable has no name." "Name it.";
        EnvEqualsSign "'env' has a name with '=', which the system takes for its end"
            "A variable's name holds `=`." "Write the name and the value as key and value of the object.";
        EnvTwice "'env' has a name more than once"
            "Two values have one name." "Send one.";
        SeedNoNumber "'seed' must be a whole number from 0 to {number}"
            "`seed` is no such number." "Send a number in this range, without quotes.";
        FilesNoObject "'files' must be an object of paths"
            "`files` is no object." "Send an object of paths and contents.";
        FilesNoCharacter "'files' holds a name with a lone surrogate escape such as \\ud800, which is no character"
            "A path was cut inside of a pair." "Cut texts between characters.";
        FileNoContent "'files': {path} must be a string, or an object with its bytes as 'base64'"
            "A file's content is neither." "Send text as a string, and bytes as `{\"base64\": \"…\"}`.";
        FileNoBase64 "'files': {path} is no base64: {what and where}"
            "The text has other characters than the standard alphabet, line breaks included, or a wrong length." "Encode with the standard alphabet, without line breaks.";
        FilesNoPlace "'files' needs a directory that only this run can write to, and isolation level seccomp has none; levels full and nsjail have one (`mayfly doctor` says what this machine lacks for them)"
            "The server runs at level `seccomp`." "Send the data as `kwargs` or `stdin`, or run the server at another level.";
        TooManyFiles "'files' holds too many files: the maximum is {number}"
            "There are more files than the server allows." "Send fewer, or raise `MAYFLY_FILES`.";
        TooManyPlaces "'files' needs too many files and directories: the maximum is {number} together"
            "The paths need too many directories." "Send flatter paths.";
        FilesTooLarge "'files' is too large: the maximum is {size} for all files together"
            "The contents are too large together." "Send less, or raise `MAYFLY_FILES_BYTES`.";
        FilesNoRoom "'files' does not fit into the run's /tmp, which is {size}; each file takes whole pages of 4 KiB"
            "The run's `/tmp` is smaller than the files." "Send less, or raise `MAYFLY_TMP_MB`.";
        FileNoName "'files': {path} is an empty name"
            "No name is left of the path." "Name the file.";
        FileNul "'files': {path} holds a NUL character"
            "The path holds U+0000." "Remove it.";
        FileAbsolute "'files': {path} is an absolute path; paths are relative to the working directory"
            "The path begins with `/`." "Leave the `/` out.";
        FileParent "'files': {path} has '..' in it; a path leads down from the working directory"
            "The path has `..` in it." "Write the path without it.";
        FileDirectory "'files': {path} ends in '/', and only files can be sent; their directories are made"
            "The path names a directory." "Send the files in it.";
        FilePathTooLong "'files': {path} is too long: a name has at most {number} bytes, a path {number}"
            "The path is longer than the system's." "Shorten it.";
        FileTooDeep "'files': {path} is too deep: the maximum is {number} names"
            "The path has too many directories." "Send a flatter path, or raise `MAYFLY_FILES_DEPTH`.";
        FileIsScript "'files': {path} is the script's own name"
            "The path is `main.py`, where the script is." "Choose another name.";
        FileTwice "'files': {path} is given more than once"
            "Two paths are the same once `.` and empty names are dropped." "Send one.";
        FileAlsoDirectory "'files': {path} is both a file and, for {path}, a directory"
            "Another path leads through the file." "Choose another name for one of them.";
        FileTooLarge "'files': {path} is too large: the maximum is {size}"
            "One file is larger than the server allows." "Send less of it, or raise `MAYFLY_FILE_BYTES`.";
    }
    403 "foreign_origin" {
        ForeignOrigin "a web page of another origin may not post here; MAYFLY_HOSTS lists the origins that may"
            "A browser sent `Origin`, which is not the server's own and not listed." "Add the page's origin to `MAYFLY_HOSTS`.";
    }
    404 "not_found" {
        NotFound "No such path. There are POST {paths} and GET {paths}."
            "The path is none of these." "Correct it. There is no `/` at its end.";
    }
    405 "method_not_allowed" {
        MethodNotAllowed "Method not allowed here. Allowed: {methods}."
            "The path is right, and the method is not." "Use a method that `Allow` names.";
    }
    408 "malformed" {
        HeadTooSlow "Request headers took too long to arrive"
            "The head did not come to its end in time." "Send it at once. `MAYFLY_HEADER_MS` sets the time.";
    }
    408 "body_too_slow" {
        BodyTooSlow "Request body took too long to arrive"
            "The body did not come to its end in time." "Send it at once. `MAYFLY_BODY_MS` sets the time.";
    }
    413 "body_too_large" {
        BodyTooLarge "Request body too large. Max size allowed is {size}."
            "The body is longer than `MAYFLY_BODY_BYTES`." "Send less, or raise the setting.";
    }
    415 "unsupported_media_type" {
        NotJsonType "Content-Type must be application/json"
            "`Content-Type` is missing, given twice, another one, or has a `charset` that is not `utf-8`. `curl -d` alone sends a form." "Send `Content-Type: application/json`; with curl, `--json`.";
        Encoded "Content-Encoding is not supported; send the body as it is"
            "The body is compressed." "Send it uncompressed.";
    }
    417 "expectation_failed" {
        Expectation "Expect other than '100-continue' is not supported"
            "`Expect` asks for something else." "Leave `Expect` out.";
    }
    421 "wrong_host" {
        WrongHost "this server does not answer to that host name; MAYFLY_HOSTS lists the names that it answers to"
            "`Host` or `:authority` is not `localhost`, an IP address or a listed name." "Add the name to `MAYFLY_HOSTS`.";
    }
    431 "malformed" {
        HeadTooLarge "Request headers too large"
            "The head has more than 16 KiB or more than 100 headers. Over HTTP/2, beyond 32 KiB the answer has no body." "Send fewer cookies and other headers.";
    }
    501 "malformed" {
        UnknownCoding "Transfer-Encoding other than 'chunked' is not supported"
            "The body has a coding as `gzip` on the way." "Send `chunked`, or `Content-Length`.";
    }
    503 "queue_full" {
        QueueFull "all places are taken and the queue is full; try again in a second"
            "More scripts are asked for than run and wait, or another client has more right to wait." "Send it again. `MAYFLY_CONCURRENCY` and `MAYFLY_QUEUE` set the places.";
    }
    503 "draining" {
        Draining "the service is shutting down; try again in a second"
            "The service got SIGTERM or SIGINT." "Send it again: another instance, or the next one, serves it.";
    }
    503 "given_up" {
        GivenUp "the service is shutting down and did not wait for the script to end; try again in a second"
            "The script still ran when `MAYFLY_DRAIN_MS` was over, or at a second signal." "Send it again. Let `MAYFLY_DRAIN_MS` be longer than scripts take.";
    }
    503 "no_zygote" {
        NoZygote "no interpreter is ready; try again in a second"
            "No child could be made in time: the service has just started, or an interpreter is being replaced." "Send it again. If it lasts, the log says why.";
    }
    503 "no_memory" {
        NoMemory "memory is short; try again in a second"
            "The machine or its container is short of memory." "Send it again. If it lasts, give the server more memory, or a smaller `MAYFLY_CONCURRENCY`.";
    }
    503 "not_told" {
        NotTold "the script could not be handed to its interpreter; try again in a second"
            "The job could not be written for its child." "Send it again. The log says why.";
    }
    503 "files" {
        Files "the files could not be written to the script's directory, so the script was not run; try again in a second"
            "The run's `/tmp` could not take the files." "Send it again. The log says why.";
    }
    503 "jail" {
        Jail "the jail could not be set up, so the script was not run; try again in a second"
            "A step of the jail failed. No script runs in a weaker one." "Send it again. If it lasts, the log names the step, and `mayfly doctor` looks at the machine.";
    }
    503 "no_room" {
        NoRoom "too many large requests and answers are in memory; try again in a second"
            "What is held for all clients together has reached its bound." "Send it again, and fewer large ones at once.";
    }
    503 "not_ready" {
        NotAlive "not alive"
            "`/healthz`, `/livez`: no child could be made for 30 s, every place is held by a process that does not end, or a thread is gone." "Restart the service. The log says why.";
        NotReady "not ready: no interpreter is warm yet, memory is short, or the service is shutting down"
            "`/readyz`: a script that is posted now would be refused." "Wait, and send requests to another instance.";
    }
    503 "-" {
        TooManyConnections "too many connections; try again in a second"
            "All connections are busy. It has no line in the log." "Send it again over fewer connections. `MAYFLY_CONNECTIONS` sets how many there may be.";
    }
    505 "malformed" {
        HttpVersion "HTTP/1.1, HTTP/1.0 and HTTP/2 with prior knowledge are served"
            "The request names another version." "Send one of these.";
    }
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// The `code` of the request's line in the log; `-` where it has none.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// What is said, with `{…}` for each part that depends on the request or on the settings.
    #[must_use]
    pub fn form(self) -> &'static str {
        self.row().form
    }

    /// What led to it.
    #[must_use]
    pub fn cause(self) -> &'static str {
        self.row().cause
    }

    /// What to do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.row().remedy
    }

    /// Whether the sentence has the form.
    #[must_use]
    pub fn fits(self, sentence: &str) -> bool {
        let mut parts = self.form().split('{').map(|part| part.split_once('}').map_or(part, |(_, fixed)| fixed));
        let Some(mut rest) = sentence.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_fits_its_form_alone() {
        assert!(Refused::NotAlive.fits("not alive") && !Refused::NotAlive.fits("not alive!"));
        assert!(Refused::LimitNotInRange.fits("'limits.wall_ms' must be a whole number from 1 to 60000"));
        for unfit in
            ["", "'limits.wall_ms' must be a whole number from 1", "limits.x' must be a whole number from 1 to 2"]
        {
            assert!(!Refused::LimitNotInRange.fits(unfit), "{unfit}");
        }
        assert!(Refused::BodyTooLarge.fits("Request body too large. Max size allowed is 2MB."));
        assert!(!Refused::BodyTooLarge.fits("Request body too large. Max size allowed is 2MB"));
    }

    #[test]
    fn every_row_is_whole() {
        for refused in Refused::ALL {
            assert!((400..600).contains(&refused.status()) && refused.status() != 422, "{refused:?}");
            for text in [refused.word(), refused.form(), refused.cause(), refused.remedy()] {
                assert!(!text.is_empty() && !text.contains(['|', '\n']), "{refused:?}: {text}");
            }
        }
    }
}
