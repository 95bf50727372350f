-- Asks for every path once. Argument: the number to begin with.

local number

function init(args)
    number = tonumber(args[1])
end

function request()
    number = number + 1
    return wrk.format(nil, "/unique/" .. number)
end
