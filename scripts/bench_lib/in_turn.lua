-- Asks for KEYS distinct paths in turn, over the routes /r0/ to /r(ROUTES-1)/. Arguments: keys, routes.

local requests, next_request = {}, 0

function init(args)
    local keys, routes = tonumber(args[1]), tonumber(args[2])
    for key = 0, keys - 1 do
        requests[key + 1] = wrk.format(nil, "/r" .. key % routes .. "/" .. key)
    end
end

function request()
    next_request = next_request % #requests + 1
    return requests[next_request]
end
