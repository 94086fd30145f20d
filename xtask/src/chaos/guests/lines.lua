-- Writes numbered lines into a file, with some work before each. While the node of its `peri run` is silent, each request fails
-- with EIO, and whether it has had its effect is not known. A write is done behind the program, so that it may be the one before that has
-- failed; an older one cannot be, for each seek waits for all that was written. So each line has its place in the file, and is
-- written again there, with the one before. If that goes on for long its `peri run` is gone.
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
local before, before_at = '', 0
local file = persist(function() return io.open(arg[1], 'w') end)
file:setvbuf('no')
for round = 1, rounds do
  local sum = 0
  for i = 1, 20000 do sum = (sum * 31 + i) % 1000003 end
  local line = round .. ' ' .. sum .. '\n'
  local text, place = line, at
  persist(function()
    local good, problem, number = file:seek('set', place)
    if good then good, problem, number = file:write(text) end
    if not good then text, place = before .. line, before_at end
    return good, problem, number
  end)
  before, before_at = line, at
  at = at + #line
end
assert(file:close())
