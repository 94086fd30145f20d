-- A little of everything Lua does: calls, tables, sorting, strings, coroutines, closures, errors, collection.
-- usage: lua workload.lua [SCALE]     (default 150)
local scale = tonumber(arg[1] or 150)

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end
local depth = 0
for step = 1, 25 do if 1.5 ^ step < scale * 3000 then depth = step end end
print(_VERSION, "fib", fib(depth))

local numbers = {}
for i = 1, scale * 1000 do numbers[i] = i * 7919 % 100003 end
table.sort(numbers, function(a, b) return a > b end)
print("sort", numbers[1], numbers[#numbers], #numbers)

local parts = {}
for i = 1, scale * 50 do parts[#parts + 1] = string.format("%05d:%s", i, ("ab"):rep(i % 7)) end
local text = table.concat(parts, ",")
local words = 0
for _ in text:gmatch("%d+:a") do words = words + 1 end
print("text", #text, words, (text:gsub("abab", "")):len())

local function generate(limit)
  return coroutine.wrap(function()
    for i = 1, limit do coroutine.yield(i * i % 1009) end
  end)
end
local sum = 0
for value in generate(scale * 200) do sum = sum + value end
print("coroutine", sum)

local caught = 0
for i = 1, scale * 20 do
  local ok, problem = pcall(function() if i % 3 == 0 then error({ code = i }) end end)
  if not ok then caught = caught + problem.code end
end
print("errors", caught, select(2, pcall(error, "boom")))

local point = {}
point.__index = point
point.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, point) end
local total = setmetatable({ x = 0, y = 0 }, point)
for i = 1, scale * 500 do total = total + setmetatable({ x = i, y = -i / 2 }, point) end
print("objects", total.x, string.format("%.1f", total.y))

local rejects = {}
for i = 1, scale * 100 do rejects[i] = { i } if i % 2 == 0 then rejects[i - 1] = nil end end
collectgarbage()
local alive = 0
for _ in pairs(rejects) do alive = alive + 1 end
print("collected", alive)
