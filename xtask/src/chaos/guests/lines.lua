-- Writes numbered lines into a file, with some work before each. While the node of its `peri run` is silent, each request fails
-- with EIO, and whether it has had its effect is not known: each line has its place in the file and is written again there. If
-- that goes on for long its `peri run` is gone.
local EIO, GONE_SECONDS = 29, 60

local function persist(request)
  local since = os.time()
  while true do
    local done, problem, number = request()
    if done then return done end
    if number ~= EIO or os.time() - since > GONE_SECONDS then error(problem) end
    for _ = 1, 1000000 do end
  end
end

local rounds, at = tonumber(arg[2]), 0
local file = persist(function() return io.open(arg[1], 'w') end)
file:setvbuf('no')
for round = 1, rounds do
  local sum = 0
  for i = 1, 20000 do sum = (sum * 31 + i) % 1000003 end
  local line = round .. ' ' .. sum .. '\n'
  persist(function()
    local good, problem, number = file:seek('set', at)
    if not good then return nil, problem, number end
    return file:write(line)
  end)
  at = at + #line
end
