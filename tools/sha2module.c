/* The module _sha2 for an archive of CPython that lacks the code behind it: the same functions, as OpenSSL has them.
 *
 * tools/python_env.sh compiles it and puts it into a copy of the archive. _hashlib is imported at the first call only:
 * `random` imports this module and seldom calls it.
 */
#include <Python.h>

static PyObject *call(const char *name, PyObject *args, PyObject *kwargs)
{
    PyObject *module = PyImport_ImportModule("_hashlib");
    PyObject *function = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    PyObject *result = function == NULL ? NULL : PyObject_Call(function, args, kwargs);
    Py_XDECREF(function);
    Py_XDECREF(module);
    return result;
}

#define HASH(bits)                                                                \
    static PyObject *sha##bits(PyObject *self, PyObject *args, PyObject *kwargs)  \
    {                                                                             \
        (void)self;                                                               \
        return call("openssl_sha" #bits, args, kwargs);                           \
    }
HASH(224)
HASH(256)
HASH(384)
HASH(512)

#define METHOD(bits) {"sha" #bits, (PyCFunction)(void (*)(void))sha##bits, METH_VARARGS | METH_KEYWORDS, NULL}
static PyMethodDef methods[] = {METHOD(224), METHOD(256), METHOD(384), METHOD(512), {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_sha2",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sha2(void)
{
    return PyModuleDef_Init(&definition);
}
