-- Sends the bodies of one folder in turn; prints one line of JSON about the window.
-- Arguments: the folder with headers.txt ("Name: value" lines) and 0.body, 1.body, …

local requests = {}
local turn = 0

function init(args)
  local folder = args[1]
  for line in io.lines(folder .. "/headers.txt") do
    local name, value = line:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
  while true do
    local file = io.open(folder .. "/" .. #requests .. ".body", "rb")
    if not file then break end
    requests[#requests + 1] = wrk.format("POST", nil, nil, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"us": %d, "requests": %d, "status": %d, "connect": %d, "read": %d, '
      .. '"write": %d, "timeout": %d, "p50_us": %.1f, "p99_us": %.1f}\n',
    summary.duration, summary.requests, e.status, e.connect, e.read, e.write, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
