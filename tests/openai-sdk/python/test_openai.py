"""The OpenAI SDK, as a user has it, against a running gateway. `run.sh` says how to start it."""

import os
import unittest

import openai

MODEL = os.environ["MODEL"]
DEAD_MODEL = os.environ["DEAD_MODEL"]
UNKNOWN_MODEL = "no-such-model"

# More than one word, and more than ASCII, so that a stream cut or mended in the wrong place shows.
QUESTION = "Where is the größte 森 of all?"
MESSAGES = [{"role": "user", "content": QUESTION}]


class GatewayTest(unittest.TestCase):
    def setUp(self):
        # No retries: each call is one request, and its failure is what the test looks at.
        self.client = openai.OpenAI(
            base_url=os.environ["GATEWAY_URL"].rstrip("/") + "/v1",
            api_key="the-gateway-must-not-pass-this-on",
            max_retries=0,
            timeout=30,
        )
        self.addCleanup(self.client.close)

    def assert_answers(self, text):
        """The stub engines behind the gateway repeat what they are asked."""
        self.assertTrue(text.endswith(QUESTION), text)


class Answers(GatewayTest):
    def test_chat(self):
        chat = self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        self.assertEqual(chat.model, MODEL)
        self.assertEqual(chat.choices[0].message.role, "assistant")
        self.assertEqual(chat.choices[0].finish_reason, "stop")
        self.assert_answers(chat.choices[0].message.content)
        self.assertGreater(chat.usage.total_tokens, 0)

    def test_chat_stream(self):
        stream = self.client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        self.assertEqual({chunk.model for chunk in chunks}, {MODEL})
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        choices = [choice for chunk in chunks for choice in chunk.choices]
        deltas = [choice.delta.content for choice in choices if choice.delta.content]
        self.assertGreater(len(deltas), 1)
        self.assert_answers("".join(deltas))
        self.assertEqual(choices[-1].finish_reason, "stop")
        self.assertGreater(chunks[-1].usage.total_tokens, 0)

    def test_chat_stream_left_early(self):
        with self.client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True
        ) as stream:
            next(iter(stream))
        self.test_chat()

    def test_chat_by_the_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:
            stream.until_done()
            self.assert_answers(stream.get_final_completion().choices[0].message.content)

    def test_completions(self):
        completion = self.client.completions.create(model=MODEL, prompt=QUESTION)
        self.assertEqual(completion.model, MODEL)
        self.assert_answers(completion.choices[0].text)

    def test_completions_stream(self):
        stream = self.client.completions.create(model=MODEL, prompt=QUESTION, stream=True)
        choices = [choice for chunk in stream for choice in chunk.choices]
        self.assert_answers("".join(choice.text for choice in choices))
        self.assertEqual(choices[-1].finish_reason, "stop")

    def test_embeddings(self):
        # The SDK asks for base64 unless told otherwise.
        for asked in ({}, {"encoding_format": "float"}):
            with self.subTest(**asked):
                answer = self.client.embeddings.create(model=MODEL, input=["one", QUESTION], **asked)
                self.assertEqual([item.index for item in answer.data], [0, 1])
                for item in answer.data:
                    self.assertGreater(len(item.embedding), 0)
                    self.assertTrue(all(isinstance(number, float) for number in item.embedding))

    def test_responses(self):
        response = self.client.responses.create(model=MODEL, input=QUESTION)
        self.assertEqual(response.model, MODEL)
        self.assertEqual(response.status, "completed")
        self.assert_answers(response.output_text)

    def test_responses_stream(self):
        with self.client.responses.stream(model=MODEL, input=QUESTION) as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        self.assert_answers("".join(deltas))
        self.assertEqual("".join(deltas), final.output_text)


class Models(GatewayTest):
    def test_list(self):
        ids = [model.id for model in self.client.models.list()]
        self.assertIn(MODEL, ids)
        self.assertIn(DEAD_MODEL, ids)
        self.assertEqual(len(ids), len(set(ids)))

    def test_retrieve(self):
        model = self.client.models.retrieve(MODEL)
        self.assertEqual((model.id, model.object), (MODEL, "model"))

    def test_retrieve_unknown(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve(UNKNOWN_MODEL)


class Failures(GatewayTest):
    def failure(self, expected, **request):
        """What a chat that has to fail with `expected` raises."""
        with self.assertRaises(expected) as caught:
            self.client.chat.completions.create(**request)
        self.assertTrue(caught.exception.body["message"])
        return caught.exception

    def test_unknown_model(self):
        for stream in (False, True):
            with self.subTest(stream=stream):
                error = self.failure(
                    openai.NotFoundError, model=UNKNOWN_MODEL, messages=MESSAGES, stream=stream
                )
                for name in (UNKNOWN_MODEL, MODEL, DEAD_MODEL):
                    self.assertIn(name, error.body["message"])

    def test_bad_request(self):
        bad = {
            "refused by the engine": {"model": MODEL, "messages": []},
            "no model": {"model": openai.omit, "messages": MESSAGES},
            "a model that is no name": {"model": 7, "messages": MESSAGES},
        }
        for name, request in bad.items():
            with self.subTest(name):
                self.failure(openai.BadRequestError, **request)

    def test_all_upstreams_down(self):
        for stream in (False, True):
            with self.subTest(stream=stream):
                error = self.failure(
                    openai.InternalServerError, model=DEAD_MODEL, messages=MESSAGES, stream=stream
                )
                self.assertIn(error.status_code, (502, 503))
                # Where an upstream is stays inside.
                self.assertNotIn("://", str(error))
                self.assertNotIn("127.0.0.1", str(error))


if __name__ == "__main__":
    unittest.main()
