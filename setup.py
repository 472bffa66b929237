from setuptools import Extension, setup

setup(ext_modules=[Extension("shout.udp._mmsg", ["shout/udp/_mmsg.c"])])
