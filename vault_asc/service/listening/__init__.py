"""The service seen from outside: health, metrics, a status page, and what systemd is told. All of it only looks.

outside    brings the parts together for the command
observer   what there is to be seen: the view, and what the events told
answers    one path, one answer
metrics    the view as metrics;  document: the view as JSON;  page.html: the page that shows it
server     HTTP, hardened, on one of `sockets`
notify     datagrams to systemd;  heartbeat: when they are sent
hanging    attempts that do not end
"""
