-- Sends chat requests with wrk, and prints the results as one line of JSON.
--
-- Usage: wrk -s wrk.lua URL -- FILE MODELS SESSIONS
--
-- FILE is the body of a request to the model "bench-model". Further models are model-2, model-3, and so on. With
-- sessions, the header x-session-id names one of them. All requests are prepared first, and sent in turn.

local requests = {}
local last = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local body = file:read("*a")
  file:close()
  local models, sessions = tonumber(args[2]), tonumber(args[3])
  for number = 1, math.max(models, sessions) do
    local model = (number - 1) % models + 1
    local name = model == 1 and "bench-model" or "model-" .. model
    local headers = { ["Content-Type"] = "application/json" }
    if sessions > 0 then
      headers["x-session-id"] = "session-" .. (number - 1) % sessions + 1
    end
    requests[number] = wrk.format("POST", "/v1/chat/completions", headers, (body:gsub("bench%-model", name)))
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "failed": %d, "p50_ms": %.3f, "p99_ms": %.3f}',
    summary.requests,
    summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3
  ))
end
