"""Gives work of its own to processes of multiprocessing; the query string says by which method."""

import concurrent.futures
import json
import multiprocessing
import sys


class Number:
    def __init__(self, value):
        self.value = value


def double(number):
    return Number(number.value * 2)


def double_in_a_grandchild(connection, number):
    context = multiprocessing.get_context('spawn')
    here, there = context.Pipe(duplex=False)
    grandchild = context.Process(target=send_double, args=(there, number))
    grandchild.start()
    there.close()
    connection.send(here.recv())
    grandchild.join()


def send_double(connection, number):
    connection.send(double(number))


def application(environ, start_response):
    context = multiprocessing.get_context(environ['QUERY_STRING'])
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        asked = '%r in __import__("sys").modules' % __name__
        answer = {'imports it for others': pool.submit(eval, asked).result(),
                  'doubled': pool.submit(double, Number(21)).result().value,
                  'executable': pool.submit(eval, '__import__("sys").executable').result()}
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=double_in_a_grandchild, args=(there, Number(4)))
    child.start()
    there.close()
    answer['doubled in a grandchild'] = here.recv().value
    child.join()
    answer['argv'] = sys.argv
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answer).encode()]
