from onnx import TensorProto, helper

from reben.model.onnx_graph import remove_traces


def spoiled(name, body=None):
    """A node, and with ``body`` one that holds a graph, with a path in every place there is."""
    node = helper.make_node("If" if body else "Relu", ["x"], [name], doc_string="/home/me/a.py")
    entry = node.metadata_props.add()
    entry.key, entry.value = "stack_trace", "/home/me/b.py"
    if body:
        node.attribute.append(helper.make_attribute("then_branch", body, doc_string="/home/me"))
    return node


def graph(name, nodes):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1], doc_string="/home/me/c.py")
    weight = helper.make_tensor(f"{name} weight", TensorProto.FLOAT, [1], [7.0])
    weight.doc_string = "/home/me/d.py"
    return helper.make_graph(nodes, name, [value], [], [weight], doc_string="/home/me/e.py")


def test_traces_go_from_graphs_within_graphs_too_and_nothing_else_does():
    inner = graph("inner", [spoiled("y")])
    model = helper.make_model(graph("outer", [spoiled("z", inner)]), doc_string="/home/me/f.py")
    function = helper.make_function("own", "f", ["x"], ["y"], [spoiled("y")], [])
    model.functions.append(function)
    assert model.SerializeToString().count(b"/home/me") == 14
    remove_traces(model)
    content = model.SerializeToString()
    assert b"/home/me" not in content
    assert b"stack_trace" not in content
    kept = model.graph.node[0].attribute[0].g
    assert (kept.name, kept.node[0].op_type, kept.initializer[0].name) == (
        "inner",
        "Relu",
        "inner weight",
    )
