-- Paths of KEYS distinct keys, drawn by Zipf's law with exponent 0.99: the same draws in every run.
-- Arguments: the number of keys, the number of draws, and the draw to begin with.

local requests, draws, next_draw = {}, {}, 0

local function cumulated(keys)
    local sums, sum = {}, 0
    for rank = 1, keys do
        sum = sum + 1 / rank ^ 0.99
        sums[rank] = sum
    end
    return sums
end

-- The first rank whose sum reaches the value.
local function rank_of(sums, value)
    local low, high = 1, #sums
    while low < high do
        local middle = math.floor((low + high) / 2)
        if sums[middle] < value then low = middle + 1 else high = middle end
    end
    return low
end

function init(args)
    local keys, number = tonumber(args[1]), tonumber(args[2])
    next_draw = tonumber(args[3])
    local sums = cumulated(keys)
    for key = 1, keys do
        requests[key] = wrk.format(nil, "/key/" .. key)
    end
    math.randomseed(1)
    for draw = 1, number do
        draws[draw] = rank_of(sums, math.random() * sums[keys])
    end
end

function request()
    next_draw = next_draw % #draws + 1
    return requests[draws[next_draw]]
end
