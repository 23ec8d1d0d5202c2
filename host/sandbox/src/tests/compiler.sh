#!/bin/sh
# A fake compiler for tests. The name under which it is called selects its behaviour. Only `reads`
# reads its input.
case "${0##*/}" in
reads)
    cat >/dev/null
    echo '{"refused":"too old"}'
    ;;
sleeps)
    echo $$ >"$(dirname "$0")/pid"
    exec sleep 600
    ;;
mute)
    echo $$ >"$(dirname "$0")/pid"
    exec sleep 600 >&- 2>&-
    ;;
garbage) echo 'listening on http://127.0.0.1:1' ;;
short) printf '{"compiled":3}\nab' ;;
foreign) printf '{"compiled":3}\nabc' ;;
silent) ;;
endless) exec yes ;;
fails)
    echo "first" >&2
    echo "unrecognized subcommand" >&2
    exit 2
    ;;
crashes) kill -SEGV $$ ;;
out-of-time) kill -XCPU $$ ;;
out-of-memory)
    echo "memory allocation of 16 bytes failed" >&2
    kill -ABRT $$
    ;;
aborts) kill -ABRT $$ ;;
killed) kill -KILL $$ ;;
unready) echo '{"unready":"no limits"}' ;;
panics) echo '"panicked"' ;;
esac
