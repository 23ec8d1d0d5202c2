"""Makes every call of a file with the OpenAI SDK, and says which did not end as the file has it."""

import json
import os
import sys
import time

import openai

MESSAGES = [{"role": "user", "content": "How large is it?"}]
TOOLS = [{"type": "function", "function": {"name": "measure", "parameters": {"type": "object"}}}]


def text_of(client, call):
    """All text of the answer to a call, as an application puts it together."""
    model, api, stream = call["model"], call["api"], call["stream"]
    if api == "completions":
        answer = client.completions.create(model=model, prompt="How large?", stream=stream)
        return "".join(choice.text for chunk in answer for choice in chunk.choices)
    if api == "responses":
        events = client.responses.create(model=model, input="How large?", stream=stream)
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")
    tools = {"tools": TOOLS} if api == "tools" else {}
    answer = client.chat.completions.create(model=model, messages=MESSAGES, stream=stream, **tools)
    deltas = [choice.delta for chunk in answer for choice in chunk.choices]
    if api == "tools":
        calls = [call for delta in deltas for call in delta.tool_calls or []]
        return "".join(call.function.arguments or "" for call in calls)
    return "".join(delta.content or "" for delta in deltas)


def ended(call):
    """How a call ended: its text, or the classes of what it raised."""
    base_url = os.environ["GATEWAY_URL"].rstrip("/") + "/v1"
    with openai.OpenAI(
        base_url=base_url, api_key="any", max_retries=call["retries"], timeout=30
    ) as client:
        try:
            return {"text": text_of(client, call)}
        except Exception as error:
            return {"raises": [kind.__name__ for kind in type(error).__mro__], "said": str(error)}


def is_expected(expect, end):
    if "text" in expect:
        return end.get("text") == expect["text"]
    return "raises" in end and expect["raises"] in [None, *end["raises"]]


def main():
    with open(os.environ["CALLS"], encoding="utf-8") as file:
        calls = json.load(file)
    wrong = 0
    for call in calls:
        start = time.monotonic()
        end = ended(call)
        took = time.monotonic() - start
        print(f"{call['model']}: {took:.2f} s, {json.dumps(end, ensure_ascii=False)}")
        if not is_expected(call["expect"], end):
            wrong += 1
            print(f"  WRONG: expected {call['expect']}")
    if wrong:
        sys.exit(f"{wrong} of {len(calls)} calls ended otherwise")
    print(f"{len(calls)} calls, all as expected")


main()
